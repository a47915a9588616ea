//! The file in which `govc` keeps the certificates that it trusts: `host[:port] THUMBPRINT` on
//! each line, in SHA-1 or SHA-256, upper-case hexadecimal with colons.

use vsphere::{Endpoint, Fingerprint, Thumbprint};

use crate::connection::PORT;
use crate::failure::Failure;

/// More servers than anyone has.
const MOST: usize = 10_000;

/// One server of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) endpoint: Endpoint,
    hash: Hash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256(Fingerprint),
    Sha1(Thumbprint),
}

impl Line {
    /// The fingerprint, if it is one in SHA-256.
    pub(crate) fn sha256(&self) -> Option<Fingerprint> {
        match self.hash {
            Hash::Sha256(fingerprint) => Some(fingerprint),
            Hash::Sha1(_) => None,
        }
    }

    /// The fingerprint as it is written.
    pub(crate) fn text(&self) -> String {
        match self.hash {
            Hash::Sha256(fingerprint) => fingerprint.to_string(),
            Hash::Sha1(thumbprint) => thumbprint.to_string(),
        }
    }
}

/// Reads the whole file, or says which line is none.
///
/// # Errors
///
/// `pins.not_known_hosts`.
pub(crate) fn read(text: &str) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if lines.len() == MOST {
            return Err(refused(number, "there are more than 10,000"));
        }
        lines.push(line(text).map_err(|why| refused(number, why))?);
    }
    Ok(lines)
}

fn line(text: &str) -> Result<Line, &'static str> {
    let mut words = text.split_ascii_whitespace();
    let (Some(server), Some(hash), None) = (words.next(), words.next(), words.next()) else {
        return Err("it is not a server and a thumbprint");
    };
    let hash = match (hash.parse(), hash.parse()) {
        (Ok(fingerprint), _) => Hash::Sha256(fingerprint),
        (_, Ok(thumbprint)) => Hash::Sha1(thumbprint),
        _ => return Err("its thumbprint is neither SHA-256 nor SHA-1"),
    };
    let endpoint = endpoint(server).ok_or("its server is not a host with a port")?;
    Ok(Line { endpoint, hash })
}

/// `host`, `host:port`, `[ipv6]:port`, or a bare IPv6 address.
pub(crate) fn endpoint(server: &str) -> Option<Endpoint> {
    if let Ok(endpoint) = Endpoint::new(server, PORT) {
        return Some(endpoint);
    }
    let (host, port) = server.rsplit_once(':')?;
    Endpoint::new(host, port.parse().ok()?).ok()
}

fn refused(number: usize, why: &str) -> Failure {
    Failure::new(
        "pins.not_known_hosts",
        format!("Correct line {number}, then import the file again: {why}; nothing was imported"),
    )
    .with("line", number)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn c8_each_spelling_of_a_server_is_taken() {
        let pin = Fingerprint::of(b"a");
        for (server, endpoint) in [
            ("vc.example", "vc.example:443"),
            ("VC.example:8443", "vc.example:8443"),
            ("10.0.0.1:443", "10.0.0.1:443"),
            ("[fd00::1]:8443", "[fd00::1]:8443"),
            ("fd00::1", "[fd00::1]:443"),
        ] {
            let lines = read(&format!("# govc\n\n  {server}\t{pin} \r\n")).unwrap();
            assert_eq!(lines.len(), 1, "{server}");
            assert_eq!(lines[0].endpoint.to_string(), endpoint);
            assert_eq!(lines[0].sha256(), Some(pin));
        }
    }

    #[test]
    fn c8_a_line_that_is_none_is_named_and_nothing_is_taken() {
        let pin = Fingerprint::of(b"a");
        for bad in [
            "vc",
            "vc AA:BB",
            "vc:0 {pin}",
            "https://vc {pin}",
            "vc {pin} more",
        ] {
            let bad = bad.replace("{pin}", &pin.to_string());
            let failure = read(&format!("good {pin}\n{bad}\n")).unwrap_err();
            assert_eq!(failure.code(), "pins.not_known_hosts", "{bad}");
            assert!(failure.message().starts_with("Correct line 2,"), "{bad}");
        }
    }
}
