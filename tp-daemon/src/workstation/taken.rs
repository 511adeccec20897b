//! The networks this machine uses already.

use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};

/// Of all routes, in whatever table, and of all interfaces.
pub(super) fn networks() -> io::Result<Vec<IpNet>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let mut taken = Vec::new();
        let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
        for family in [v4, v6] {
            taken.extend(routes(&handle, family).await.map_err(io::Error::other)?);
        }
        taken.extend(addresses(&handle).await.map_err(io::Error::other)?);
        Ok(taken)
    })
}

async fn routes(handle: &Handle, family: RouteMessage) -> Result<Vec<IpNet>, rtnetlink::Error> {
    let mut routes = handle.route().get(family).execute();
    let mut found = Vec::new();
    while let Some(route) = routes.try_next().await? {
        let destination = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
            _ => None,
        });
        found.extend(destination.and_then(|ip| IpNet::new(ip, route.header.destination_prefix_length).ok()));
    }
    Ok(found)
}

async fn addresses(handle: &Handle) -> Result<Vec<IpNet>, rtnetlink::Error> {
    let mut addresses = handle.address().get().execute();
    let mut found = Vec::new();
    while let Some(address) = addresses.try_next().await? {
        let ip = address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        });
        found.extend(ip.and_then(|ip| IpNet::new(ip, address.header.prefix_len).ok()));
    }
    Ok(found)
}
