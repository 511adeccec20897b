//! Who gets in: TLS with the certificate of the join URL, and its token.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tp_core::join::Security;
use tp_proto::client::{self, Auth, Connecting, Connector, Io};

use super::site::{Site, manager};

struct Tls {
    to: SocketAddr,
    tls: TlsConnector,
}

impl Connector for Tls {
    fn connect(&self) -> Connecting {
        let (to, tls) = (self.to, self.tls.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            let name = ServerName::try_from("traffic-manager").map_err(std::io::Error::other)?;
            Ok(Box::new(tls.connect(name, stream).await?) as Box<dyn Io>)
        })
    }
}

/// Trusts the certificate in `state` and nothing else.
fn connector(to: SocketAddr, state: &Path) -> Tls {
    let pem = std::fs::read(state.join("certificate.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Tls { to, tls: TlsConnector::from(Arc::new(config)) }
}

async fn version(to: SocketAddr, state: &Path, auth: Auth) -> Result<(), Code> {
    let channel = client::channel(Arc::new(connector(to, state)), auth).await.unwrap();
    client::manager(channel).version(()).await.map(|_| ()).map_err(|status| status.code())
}

#[tokio::test]
async fn the_token_opens_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let running = manager(&format!("--state-dir {}", dir.path().display())).await;
    let join = running.join.clone().unwrap();
    assert!(matches!(join.security, Security::Pinned(_)));
    let token = join.token.clone().unwrap();
    let (to, state) = (running.address, dir.path());
    assert_eq!(version(to, state, Auth::bearer(&token).unwrap()).await, Ok(()));
    let shorter = &token[..token.len() - 1];
    for wrong in [shorter, &format!("{token}x"), "x"] {
        let auth = Auth::bearer(wrong).unwrap();
        assert_eq!(version(to, state, auth).await, Err(Code::Unauthenticated), "{wrong}");
    }
    assert_eq!(version(to, state, Auth::default()).await, Err(Code::Unauthenticated));

    // after a restart the same URL, but for the port, opens
    running.stop().await;
    let again = manager(&format!("--state-dir {}", state.display())).await;
    assert_eq!(version(again.address, state, Auth::bearer(&token).unwrap()).await, Ok(()));
    assert_eq!(again.join.unwrap().security, join.security);
}

#[tokio::test]
async fn plaintext_is_not_understood_where_tls_is_spoken() {
    let running = manager("").await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn the_same_port_says_hello_and_how_it_is() {
    let site = Site::new().await;
    let mut stream = TcpStream::connect(site.running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("traffic-manager"));

    let channel = super::site::channel(site.running.address, Auth::default()).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let reply = health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    assert_eq!(reply.into_inner().status(), tonic_health::ServingStatus::Serving.into());
}
