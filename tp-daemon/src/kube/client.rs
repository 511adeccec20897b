//! The HTTP client under kube: as kube builds it, but small messages leave at once.
//!
//! kube's own leaves Nagle's algorithm on. Requests do not mind, but a port-forward carries our HTTP/2: its small frames
//! would wait for the API server's delayed acknowledgement, 40 ms each time (measured: every DNS answer).

use std::time::Duration;

use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config, Error};
use tower::{BoxError, ServiceBuilder};

/// A way to the API server that has gone (sleep, roaming) is noticed by the kernel within about a minute.
const KEEPALIVE: Duration = Duration::from_secs(30);

pub(super) fn client(config: &Config) -> Result<Client, Error> {
    if config.proxy_url.is_some() {
        // the hop to a proxy is kube's affair, with the 40 ms
        return Client::try_from(config.clone());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_connect_timeout(config.connect_timeout);
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
