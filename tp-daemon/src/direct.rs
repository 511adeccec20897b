//! The way to a manager that is reached directly: TCP, and TLS with exactly the certificate that the join URL pins.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tp_core::join::{JoinUrl, Security};
use tp_proto::client::{Connecting, Connector, Io};
use tp_proto::http2::Link;

use crate::failure::{Failure, OrHint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the manager of a join URL.
pub struct Direct(Arc<Inner>);

struct Inner {
    addresses: Vec<SocketAddr>,
    tls: Option<TlsConnector>,
}

impl Direct {
    /// Resolves the host once: later our own DNS may be in the way.
    pub async fn new(url: &JoinUrl) -> Result<Self, Failure> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((url.host.as_str(), url.port))
            .await
            .or_hint(format!("resolving the manager's host {}", url.host), "check the host in --manager URL")?
            .collect();
        let tls = match url.security {
            Security::Plaintext => None,
            Security::Pinned(pin) => {
                Some(tls_connector(pin).or_hint("preparing TLS", "this is a defect of tp")?)
            }
        };
        Ok(Self(Arc::new(Inner { addresses, tls })))
    }

    /// Our transport, never to be routed into our own tunnel.
    pub fn transport(&self) -> Vec<IpAddr> {
        self.0.addresses.iter().map(SocketAddr::ip).collect()
    }
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Direct({:?})", self.0.addresses)
    }
}

impl Connector for Direct {
    fn connect(&self) -> Connecting {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, inner.connect()).await {
                Ok(result) => result,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 10 s")),
            }
        })
    }
}

impl Inner {
    async fn connect(&self) -> io::Result<Box<dyn Io>> {
        let stream = Link::new(TcpStream::connect(&self.addresses[..]).await?)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            // the name is not looked at: the pin says which certificate it must be
            Some(tls) => {
                let name = ServerName::try_from("traffic-manager").map_err(io::Error::other)?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }
}

fn tls_connector(pin: [u8; 32]) -> Result<TlsConnector, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Accepts one certificate, by its SHA-256. The handshake's signature is verified as ever: without that, anybody could
/// replay the certificate.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let digest = ring::digest::digest(&ring::digest::SHA256, end_entity);
        if digest.as_ref() == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
