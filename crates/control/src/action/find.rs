//! find_vm: machines by what people know of them.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::disk::DEVICES;
use super::vm::{VMS, nics};
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::listing::filter::{Chosen, Test};
use crate::listing::glob::Glob;
use crate::machine::{self, decoded};

/// What find_vm can search by.
const SEARCH: &[&str] = &["name_glob", "ip", "mac", "dns_name", "uuid"];

/// Refuses a search for nothing, and addresses that are none.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    if SEARCH.iter().all(|name| arguments.text(name).is_none()) {
        return Err(Failure::new(
            "argument.missing",
            "Pass what to search by: `name_glob`, `ip`, `mac`, `dns_name` or `uuid`",
        )
        .with("argument", "name_glob"));
    }
    let wrong = |name: &str, wanted: &str| {
        Err(Failure::new(
            "argument.out_of_range",
            format!("Pass `{name}` as {wanted}"),
        )
        .with("argument", name))
    };
    if arguments
        .text("ip")
        .is_some_and(|ip| ip.parse::<IpAddr>().is_err())
    {
        return wrong("ip", "an address such as 10.0.0.1 or fe80::1");
    }
    if arguments
        .text("mac")
        .is_some_and(|text| mac(text).len() != 12)
    {
        return wrong("mac", "six bytes in hexadecimal, such as 00:50:56:ab:cd:ef");
    }
    VMS.check(arguments)
}

/// The digits of a MAC address, however they are set apart.
fn mac(text: &str) -> String {
    let digits = text.chars().filter(|c| !matches!(c, ':' | '-' | '.'));
    let digits: String = digits.map(|c| c.to_ascii_lowercase()).collect();
    if digits.chars().all(|c| c.is_ascii_hexdigit()) {
        digits
    } else {
        String::new()
    }
}

/// The machines that fit everything that is searched by.
pub(crate) async fn find(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let arguments = call.arguments;
    let mut chosen = Chosen::default();
    if let Some(uuid) = arguments.text("uuid") {
        chosen.narrow(machine::by_uuid(call.session, uuid).await?);
    }
    if let Some(glob) = arguments.text("name_glob") {
        let glob = Glob::new(&decoded(glob));
        chosen.tests.push(Test::new(&["name"], move |object| {
            glob.fits(&decoded(object.text("name").unwrap_or_default()))
        }));
    }
    if let Some(name) = arguments.text("dns_name") {
        let glob = Glob::new(name.trim_end_matches('.'));
        chosen
            .tests
            .push(Test::new(&["guest.hostName"], move |object| {
                let name = object.text("guest.hostName");
                name.is_some_and(|name| glob.fits(name.trim_end_matches('.')))
            }));
    }
    if let Some(wanted) = arguments
        .text("ip")
        .and_then(|ip| ip.parse::<IpAddr>().ok())
    {
        chosen.tests.push(Test::new(
            &["guest.ipAddress", "guest.net"],
            move |object| {
                // One address has several spellings.
                let is = |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| ip == wanted);
                object.text("guest.ipAddress").is_some_and(is)
                    || nics(object).any(|nic| nic.all("ipAddress").any(|ip| is(ip.text())))
            },
        ));
    }
    if let Some(wanted) = arguments.text("mac").map(mac) {
        // The guest's word, and that of the hardware, which is there while the guest is not.
        chosen
            .tests
            .push(Test::new(&["guest.net", DEVICES], move |object| {
                let is = |device: &vsphere::Value| {
                    device
                        .text_at("macAddress")
                        .is_some_and(|text| mac(text) == wanted)
                };
                let devices = object.get(DEVICES);
                let mut devices = devices.into_iter().flat_map(vsphere::Value::items);
                devices.any(is) || nics(object).any(is)
            }));
    }
    VMS.list_of(call, chosen).await
}

#[cfg(test)]
mod tests {
    use super::mac;

    #[test]
    fn c9_a_mac_address_is_the_same_however_it_is_set_apart() {
        for text in [
            "00:50:56:AB:cd:ef",
            "00-50-56-ab-cd-ef",
            "0050.56ab.cdef",
            "005056abcdef",
        ] {
            assert_eq!(mac(text), "005056abcdef", "{text}");
        }
        for text in ["", "00:50:56:ab:cd:xx", "é"] {
            assert_ne!(mac(text).len(), 12, "{text}");
        }
    }
}
