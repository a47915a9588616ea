//! Where a server listens: a host and a port, and nothing else that a URL could carry.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::ServerName;

use crate::error::Error;

/// The address of a vCenter or ESXi host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Takes a host name or an IP address (IPv6 with or without brackets) and a port.
    ///
    /// A URL, a user, a path or a port within `host` is refused: a host that is more than a
    /// host could send a password elsewhere.
    ///
    /// # Errors
    /// [`Error::InvalidEndpoint`].
    pub fn new(host: &str, port: u16) -> Result<Self, Error> {
        let refuse = |reason| Error::InvalidEndpoint {
            host: host.to_owned(),
            reason,
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if port == 0 {
            return Err(refuse("port 0 cannot be connected to"));
        }
        if let Ok(ip) = bare.unwrap_or(host).parse::<IpAddr>() {
            if bare.is_some() && ip.is_ipv4() {
                return Err(refuse("only an IPv6 address is written in brackets"));
            }
            return Ok(Self {
                host: ip.to_string(),
                port,
            });
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > 253 || !host.chars().all(legal) {
            return Err(refuse(
                "give a host name or an IP address alone, without scheme, path or port",
            ));
        }
        // A name of digits and dots only would be read as an abbreviated IPv4 address.
        if host
            .rsplit('.')
            .find(|l| !l.is_empty())
            .is_none_or(|l| l.chars().all(|c| c.is_ascii_digit()) || l.starts_with("0x"))
        {
            return Err(refuse("it is neither a host name nor a whole IP address"));
        }
        if ServerName::try_from(host).is_err() {
            return Err(refuse("it is not a legal host name"));
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// The host, without brackets, names in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, Error> {
        ServerName::try_from(self.host.clone()).map_err(|_| Error::InvalidEndpoint {
            host: self.host.clone(),
            reason: "it is not a legal host name",
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn c1_hosts_by_name_and_address_are_taken() {
        for (host, shown) in [
            ("vc.lab.example", "vc.lab.example:443"),
            ("ESX_1", "esx_1:443"),
            ("10.0.0.7", "10.0.0.7:443"),
            ("fd00::1", "[fd00::1]:443"),
            ("[fd00::1]", "[fd00::1]:443"),
        ] {
            let endpoint = Endpoint::new(host, 443).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert!(endpoint.server_name().is_ok(), "{host}");
        }
    }

    #[test]
    fn c1_a_host_that_is_more_than_a_host_is_refused() {
        for host in [
            "",
            "https://vc",
            "vc/sdk",
            "vc:443",
            "me@vc",
            "vc lab",
            "vc#x",
            "vc?x",
            "[10.0.0.1]",
            "[vc]",
            "10.0.1",
            "0x7f000001",
            "127.1",
            "vc\u{2024}lab",
            "..",
            "-",
            "fe80::1%eth0",
            "a..b",
        ] {
            assert!(Endpoint::new(host, 443).is_err(), "{host} was taken");
        }
        assert!(Endpoint::new("vc", 0).is_err());
    }
}
