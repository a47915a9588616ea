#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use tokio::io::AsyncReadExt;

use super::*;

/// A page as a vCenter writes it, with what a newer server may add.
const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<soapenv:Body>
<RetrievePropertiesExResponse xmlns="urn:vim25"><returnval><token>0</token><novelty><x>1</x></novelty><objects><obj type="VirtualMachine">vm-42</obj><propSet><name>name</name><val xsi:type="xsd:string">web &lt;01&gt; &amp; ü</val></propSet><propSet><name>guest.net</name><val xsi:type="ArrayOfGuestNicInfo"><GuestNicInfo xsi:type="GuestNicInfo"><ipAddress>10.0.0.1</ipAddress><ipAddress>fe80::1</ipAddress><connected>true</connected></GuestNicInfo></val></propSet><propSet><name>runtime.faultToleranceState</name><val xsi:type="VirtualMachineFaultToleranceState"/></propSet><propSet><name>resourcePool</name><val type="ResourcePool" xsi:type="ManagedObjectReference">resgroup-8</val></propSet><missingSet><path>config.annotation</path><fault><fault xsi:type="NoPermission"><object type="VirtualMachine">vm-42</object><privilegeId>System.Read</privilegeId></fault><localizedMessage>Permission to perform this operation was denied.</localizedMessage></fault></missingSet></objects><objects><obj type="VirtualMachine">vm-43</obj></objects><objects><nothing/></objects></returnval></RetrievePropertiesExResponse>
</soapenv:Body>
</soapenv:Envelope>"#;

type Read = (
    Vec<Object>,
    Result<Result<Page, Fault>, XmlError>,
    Option<String>,
);

async fn read<R: AsyncBufRead + Unpin>(source: R) -> Read {
    let (mut objects, mut token) = (Vec::new(), None);
    let mut sink = |object| {
        objects.push(object);
        ControlFlow::Continue(())
    };
    let mut pull = Pull::new(source, 1 << 20);
    let result = read_page(&mut pull, "RetrievePropertiesEx", &mut sink, &mut |next| {
        token = Some(next.to_owned());
    })
    .await;
    (objects, result, token)
}

#[tokio::test]
async fn c2_a_page_is_read_with_unknown_elements_skipped() {
    let (objects, page, _) = read(PAGE.as_bytes()).await;
    assert_eq!(page.unwrap().unwrap().token.as_deref(), Some("0"));
    let [vm, bare] = &objects[..] else {
        panic!("{objects:?}")
    };
    assert_eq!(vm.reference, MoRef::new("VirtualMachine", "vm-42"));
    assert_eq!(vm.text("name"), Some("web <01> & ü"));
    let nic = vm.get("guest.net").unwrap().items().next().unwrap();
    assert_eq!(
        nic.all("ipAddress").map(Value::text).collect::<Vec<_>>(),
        ["10.0.0.1", "fe80::1"]
    );
    assert_eq!(vm.text("runtime.faultToleranceState"), Some(""));
    assert_eq!(
        vm.get("resourcePool").unwrap().as_moref(),
        Some(MoRef::new("ResourcePool", "resgroup-8"))
    );
    assert!(vm.is_unreadable("config.annotation") && !vm.is_gone());
    assert_eq!(vm.missing[0].fault.kind, "NoPermission");
    assert_eq!(
        vm.missing[0].fault.field("privilegeId"),
        Some("System.Read")
    );
    assert_eq!(vm.missing[0].fault.object(), Some(vm.reference.clone()));
    assert!(bare.properties.is_empty() && bare.missing.is_empty());
}

#[test]
fn c2_an_object_is_told_from_another_by_its_whole_reference() {
    let all = [
        ("VirtualMachine", "vm-1"),
        ("VirtualMachine", "vm-01"),
        ("VirtualMachine", "vm-10"),
        ("VirtualMachine", "vm1"),
        ("VirtualMachine", "1"),
        ("VirtualMachine", "vm-"),
        ("VirtualMachine", "vm-0"),
        ("VirtualMachine", "vm-00"),
        ("VirtualMachine", "vm-99999999999999999999"),
        ("VirtualMachine", "vm-18446744073709551615"),
        ("VirtualMachine", ""),
        ("VirtualMachine", "vm-ü1"),
        ("VirtualApp", "vm-1"),
    ];
    let mut seen = Seen::default();
    for is_new in [true, false] {
        for (kind, id) in all {
            assert_eq!(seen.is_new(&MoRef::new(kind, id)), is_new, "{kind} {id}");
        }
    }
}

#[tokio::test]
async fn c2_a_page_reads_the_same_wherever_the_network_cuts_it() {
    let (whole, _, _) = read(PAGE.as_bytes()).await;
    let bytes = PAGE.as_bytes();
    for at in 0..=bytes.len() {
        let (objects, page, _) = read((&bytes[..at]).chain(&bytes[at..])).await;
        assert!(page.is_ok_and(|p| p.is_ok()), "cut at {at}");
        assert_eq!(objects, whole, "cut at {at}");
    }
    let (objects, page, _) = read(tokio::io::BufReader::with_capacity(1, bytes)).await;
    assert!(page.is_ok_and(|p| p.is_ok()));
    assert_eq!(objects, whole, "byte by byte");
}

#[tokio::test]
async fn c11_a_page_that_ends_early_is_an_error_with_its_token_known() {
    let end = PAGE.trim_end().len();
    for at in 0..end {
        let (_, page, token) = read(&PAGE.as_bytes()[..at]).await;
        assert!(page.is_err(), "a page cut off at {at} was taken as whole");
        assert_eq!(
            token.is_some(),
            at >= PAGE.find("</token>").unwrap() + "</token>".len(),
            "cut at {at}"
        );
    }
}

#[tokio::test]
async fn c2_an_answer_without_objects_and_a_fault_are_told_apart() {
    let envelope = |inner: &str| {
        format!("<e:Envelope xmlns:e=\"x\" xmlns:xsi=\"y\"><e:Body>{inner}</e:Body></e:Envelope>")
    };
    let (objects, page, _) =
        read(envelope("<RetrievePropertiesExResponse xmlns=\"urn:vim25\"/>").as_bytes()).await;
    assert!(objects.is_empty() && page.unwrap().unwrap().token.is_none());
    let fault = envelope(
        "<e:Fault><faultcode>ServerFaultCode</faultcode><faultstring>A specified parameter was not correct: </faultstring>\
         <detail><InvalidPropertyFault xmlns=\"urn:vim25\" xsi:type=\"InvalidProperty\"><name>no.such</name>\
         </InvalidPropertyFault></detail></e:Fault>",
    );
    let (_, page, _) = read(fault.as_bytes()).await;
    let fault = page.unwrap().unwrap_err();
    assert_eq!(
        (fault.kind.as_str(), fault.field("name")),
        ("InvalidProperty", Some("no.such"))
    );
}

/// Answers that were once of interest, and what could be mistaken for one.
const CORPUS: &[&str] = &[
    "",
    "<",
    "<a/>",
    "<Envelope><Body><RetrievePropertiesExResponse/></Body></Envelope>",
    "<Envelope><Body><RetrievePropertiesExResponse><returnval><objects/></returnval></RetrievePropertiesExResponse></Body></Envelope>",
    "<Envelope><Body><RetrievePropertiesExResponse><returnval><objects><obj/><propSet/><missingSet/></objects></returnval>\
     </RetrievePropertiesExResponse></Body></Envelope>",
    "<Envelope><Body><RetrievePropertiesExResponse><returnval><objects><obj type=''>x</obj><propSet><name>a</name><val \
     xsi:type=':'>&#0;&#x110000;</val></propSet></objects></returnval></RetrievePropertiesExResponse></Body></Envelope>",
    "<Envelope><Body><RetrievePropertiesExResponse><returnval><objects><obj type='VirtualMachine'>vm-1</obj><propSet>\
     <name>n</name><val xsi:type='xsd:int'>99999999999999999999</val></propSet><propSet><name>b</name><val \
     xsi:type='xsd:boolean'>maybe</val></propSet><propSet><name>c</name></propSet></objects></returnval>\
     </RetrievePropertiesExResponse></Body></Envelope>",
    PAGE,
];

/// Whatever may be asked of a value can be asked of any value.
fn ask(value: &Value) -> usize {
    let _ = (
        value.as_bool(),
        value.as_i64(),
        value.as_moref(),
        value.type_name(),
    );
    let _ = (
        value.at("a.b.c"),
        value.at(""),
        value.text_at("."),
        format!("{value:?}"),
    );
    1 + value.items().map(ask).sum::<usize>()
}

#[tokio::test]
async fn c2_no_answer_makes_the_reading_of_properties_fail_otherwise_than_by_an_error() {
    let (mut tried, mut values) = (0, 0);
    for text in CORPUS {
        let bytes = text.as_bytes();
        let mut garbage = vec![bytes.to_vec()];
        // Steps that share no factor with the length of anything, so that all kinds of places are hit.
        for at in (0..bytes.len()).step_by(7) {
            for with in [b'<', b'>', b'&', b'"', b'/', b'\0', 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] = with;
                garbage.push(changed);
            }
            let end = bytes.len().min(at + 11);
            garbage.push([&bytes[..at], &bytes[end..]].concat());
            garbage.push([&bytes[..end], &bytes[at..]].concat());
        }
        for bytes in garbage {
            let (objects, _, _) = read(bytes.as_slice()).await;
            tried += 1;
            for object in &objects {
                let _ = (
                    object.is_gone(),
                    object.text("name"),
                    object.is_unreadable(""),
                );
                values += object
                    .properties
                    .iter()
                    .map(|(_, value)| ask(value))
                    .sum::<usize>();
            }
        }
    }
    assert!(tried > 2_000 && values > 2_000, "{tried} {values}");
}
