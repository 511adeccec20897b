//! The join URL of a manager that is reached directly: address, token and the certificate to expect, in one line that
//! can be copied from the manager's output to `tp connect --manager`.
//!
//! `tp://TOKEN@HOST:PORT?pin=sha256:HEX` is TLS; the pin is the SHA-256 of the certificate's DER form.
//! `tp+plain://HOST:PORT` is plaintext, for loopback and test networks.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, PartialEq, Eq)]
pub struct JoinUrl {
    /// Host name or address (IPv6 without brackets).
    pub host: String,
    pub port: u16,
    pub token: Option<String>,
    pub security: Security,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// TLS; only the certificate with this SHA-256 is accepted.
    Pinned([u8; 32]),
    Plaintext,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinUrlError {
    #[error("it starts with neither tp:// nor tp+plain://")]
    Scheme,
    #[error("HOST:PORT is missing or malformed")]
    Address,
    #[error("the pin is missing: ?pin=sha256:HEX must follow the address")]
    NoPin,
    #[error("the pin is not sha256: followed by 64 hexadecimal digits")]
    Pin,
    #[error("unknown parameter {0}")]
    Parameter(String),
    #[error("the token has characters other than letters, digits, '-', '_' and '.'")]
    Token,
}

impl FromStr for JoinUrl {
    type Err = JoinUrlError;

    fn from_str(text: &str) -> Result<Self, JoinUrlError> {
        let (tls, rest) = match (text.strip_prefix("tp://"), text.strip_prefix("tp+plain://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(JoinUrlError::Scheme),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (token, address) = match rest.rsplit_once('@') {
            Some((token, address)) => (Some(token), address),
            None => (None, rest),
        };
        if token.is_some_and(|token| token.is_empty() || !token.bytes().all(is_token_byte)) {
            return Err(JoinUrlError::Token);
        }
        let (host, port) = address.trim_end_matches('/').rsplit_once(':').ok_or(JoinUrlError::Address)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(JoinUrlError::Address)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || (bare.is_none() && host.contains([':', '[', ']'])) || host.contains(['/', ' '])
        {
            return Err(JoinUrlError::Address);
        }
        let mut pin = None;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("pin", value)) => pin = Some(parse_pin(value)?),
                _ => return Err(JoinUrlError::Parameter(parameter.to_owned())),
            }
        }
        let security = match (tls, pin) {
            (true, Some(pin)) => Security::Pinned(pin),
            (true, None) => return Err(JoinUrlError::NoPin),
            (false, None) => Security::Plaintext,
            (false, Some(_)) => {
                return Err(JoinUrlError::Parameter("pin (plaintext has no certificate)".into()));
            }
        };
        Ok(Self { host: host.to_owned(), port, token: token.map(str::to_owned), security })
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn parse_pin(value: &str) -> Result<[u8; 32], JoinUrlError> {
    let hex = value.strip_prefix("sha256:").ok_or(JoinUrlError::Pin)?;
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(JoinUrlError::Pin);
    }
    let mut pin = [0; 32];
    for (i, byte) in pin.iter_mut().enumerate() {
        let digits = &hex[2 * i..2 * i + 2];
        if digits.starts_with('+') {
            return Err(JoinUrlError::Pin);
        }
        *byte = u8::from_str_radix(digits, 16).map_err(|_| JoinUrlError::Pin)?;
    }
    Ok(pin)
}

impl JoinUrl {
    /// `HOST:PORT`, as one connects to it and as it may be logged: no token.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for JoinUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.security == Security::Plaintext { "tp+plain://" } else { "tp://" })?;
        if let Some(token) = &self.token {
            write!(f, "{token}@")?;
        }
        f.write_str(&self.address())?;
        if let Security::Pinned(pin) = &self.security {
            f.write_str("?pin=sha256:")?;
            for byte in pin {
                write!(f, "{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Without the token: a URL in a log must not let the reader in.
impl fmt::Debug for JoinUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinUrl({})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn what_the_manager_prints_is_read_back() {
        for text in [
            format!("tp://s3cret@192.0.2.7:8081?pin=sha256:{PIN}"),
            format!("tp://t@[fd00::1]:8081?pin=sha256:{PIN}"),
            "tp+plain://127.0.0.1:8081".into(),
        ] {
            let url: JoinUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
            assert!(!format!("{url:?}").contains("s3cret"));
        }
    }

    #[test]
    fn malformed() {
        for (text, error) in [
            ("https://x:1", JoinUrlError::Scheme),
            ("tp://host", JoinUrlError::Address),
            ("tp://host:0?pin=x", JoinUrlError::Address),
            ("tp://fd00::1:8081", JoinUrlError::Address),
            ("tp://a b@h:1", JoinUrlError::Token),
            ("tp://h:1", JoinUrlError::NoPin),
            ("tp://h:1?pin=sha256:00", JoinUrlError::Pin),
            ("tp://h:1?pni=1", JoinUrlError::Parameter("pni=1".into())),
        ] {
            assert_eq!(text.parse::<JoinUrl>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn total(text in "(tp://|tp\\+plain://)?.{0,80}") {
            if let Ok(url) = text.parse::<JoinUrl>() {
                prop_assert_eq!(url.to_string().parse::<JoinUrl>(), Ok(url));
            }
        }
    }
}
