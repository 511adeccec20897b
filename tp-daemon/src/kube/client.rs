//! The HTTP client under kube: as kube builds it, over sockets of our own making.
//!
//! kube's own leaves Nagle's algorithm on, and lets megabytes wait in the socket. Requests do not mind, but a port-forward
//! carries our HTTP/2: its small frames would wait for the API server's delayed acknowledgement, 40 ms each time (measured:
//! every DNS answer), and behind all of that.

use std::time::Duration;

use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ConfigExt};
use kube::{Client, Config, Error};
use tokio::net::TcpStream;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tp_proto::http2::Link;

/// A way to the API server that has gone (sleep, roaming) is noticed by the kernel within about a minute.
const KEEPALIVE: Duration = Duration::from_secs(30);

pub(super) fn client(config: &Config) -> Result<Client, Error> {
    if config.proxy_url.is_some() {
        // the hop to a proxy is kube's affair, with the 40 ms
        return Client::try_from(config.clone());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_connect_timeout(config.connect_timeout);
    let tcp = tcp.map_result(|stream: Result<TokioIo<TcpStream>, _>| -> Result<_, BoxError> {
        Ok(TokioIo::new(Link::new(stream?.into_inner())?))
    });
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}
