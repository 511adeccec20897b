//! Certificate, key and token of a standalone manager. Clients pin the certificate, so it needs no authority; it stays
//! the same over restarts if there is a directory to keep it in.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::write_private;

pub(super) struct Identity {
    certificate_pem: String,
    key_pem: String,
    certificate: CertificateDer<'static>,
    pub(super) token: String,
}

impl Identity {
    pub(super) fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["traffic-manager".to_owned()])
            .context("cannot make a certificate")?;
        let mut random = [0u8; 32];
        SystemRandom::new().fill(&mut random).expect("the kernel has random bytes");
        Ok(Self {
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
            certificate: made.cert.der().clone(),
            token: URL_SAFE_NO_PAD.encode(random),
        })
    }

    /// The identity kept in `dir`, made there if there is none.
    pub(super) fn kept_in(dir: &Path) -> Result<Self> {
        let (certificate, key, token) = (dir.join("certificate.pem"), dir.join("key.pem"), dir.join("token"));
        if token.exists() {
            let read = |path: &Path| {
                fs::read_to_string(path).with_context(|| {
                    format!(
                        "cannot read {}\n\nhint: remove {} to get a new certificate and token; clients then need the new URL",
                        path.display(),
                        dir.display()
                    )
                })
            };
            return Self::from_pem(read(&certificate)?, read(&key)?, read(&token)?.trim().to_owned())
                .with_context(|| format!("{} holds no usable certificate", dir.display()));
        }
        let made = Self::new()?;
        let keep = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            write_private(&certificate, made.certificate_pem.as_bytes())?;
            write_private(&key, made.key_pem.as_bytes())?;
            // last: its presence says that all of it is there
            write_private(&token, made.token.as_bytes())
        };
        keep().with_context(|| {
            format!(
                "cannot keep certificate and token in {}\n\nhint: give a directory that you may write to with --state-dir",
                dir.display()
            )
        })?;
        Ok(made)
    }

    fn from_pem(certificate_pem: String, key_pem: String, token: String) -> Result<Self> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())?;
        anyhow::ensure!(!token.is_empty(), "the token is empty");
        Ok(Self { certificate_pem, key_pem, certificate, token })
    }

    /// SHA-256 of the certificate in DER form.
    pub(super) fn pin(&self) -> [u8; 32] {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.certificate);
        let mut pin = [0; 32];
        pin.copy_from_slice(digest.as_ref());
        pin
    }

    pub(super) fn acceptor(&self) -> Result<TlsAcceptor> {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).context("the key is no PEM key")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .context("certificate and key do not fit")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_kept_identity_stays_the_same_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = Identity::kept_in(&state).unwrap();
        let second = Identity::kept_in(&state).unwrap();
        assert_eq!(first.token, second.token);
        assert_eq!(first.pin(), second.pin());
        assert!(second.acceptor().is_ok());
        assert!(first.token.len() >= 43);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        for file in ["token", "key.pem"] {
            assert_eq!(fs::metadata(state.join(file)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_ne!(Identity::new().unwrap().token, first.token);
    }

    #[test]
    fn damage_is_told_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        Identity::kept_in(dir.path()).unwrap();
        fs::remove_file(dir.path().join("key.pem")).unwrap();
        let error = Identity::kept_in(dir.path()).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains("hint: "), "{error:#}");
        fs::write(dir.path().join("key.pem"), "x").unwrap();
        assert!(Identity::kept_in(dir.path()).unwrap().acceptor().is_err());
    }
}
