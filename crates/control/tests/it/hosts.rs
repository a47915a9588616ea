//! A standalone ESXi host: what it must not be asked, since a vCenter has it or its licence only reads.

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fake::{Fake, Reply, Seen};
use crate::scene::{machine, property, success};
use crate::support::{Lab, Server, TestHome, merge};

/// A scripted ESXi host with one running machine, and what is said of the host and its licences.
struct Host {
    server: Server,
    fake: Fake,
    _home: TestHome,
    _runtime: Runtime,
}

const CONTENT: &str = "<returnval><rootFolder type=\"Folder\">ha-folder-root</rootFolder>\
    <propertyCollector type=\"PropertyCollector\">ha-property-collector</propertyCollector>\
    <about><name>VMware ESXi</name><apiType>HostAgent</apiType><apiVersion>8.0.3.0</apiVersion></about>\
    <sessionManager type=\"SessionManager\">ha-sessionmgr</sessionManager>\
    <licenseManager type=\"LicenseManager\">ha-license-manager</licenseManager>\
    <searchIndex type=\"SearchIndex\">ha-searchindex</searchIndex></returnval>";

impl Host {
    fn new(host: String, licences: &'static str) -> Self {
        let script = move |seen: &Seen| {
            let returns = |value: &str| {
                Some(Reply::Soap(format!(
                    "<{0}Response xmlns=\"urn:vim25\">{value}</{0}Response>",
                    seen.method
                )))
            };
            let object = |kind: &str, id: &str, properties: &str| {
                returns(&format!(
                    "<returnval><objects><obj type=\"{kind}\">{id}</obj>{properties}</objects></returnval>"
                ))
            };
            match seen.method.as_str() {
                "RetrieveServiceContent" => returns(CONTENT),
                "RetrievePropertiesEx" if seen.body.contains(">vm-42</obj>") => {
                    object("VirtualMachine", "vm-42", &machine("poweredOn"))
                }
                "RetrievePropertiesEx" if seen.body.contains("licenses") => object(
                    "LicenseManager",
                    "ha-license-manager",
                    &property("licenses", licences),
                ),
                "RetrievePropertiesEx" if seen.body.contains("managementServerIp") => {
                    object("HostSystem", "ha-host", &host)
                }
                "RetrievePropertiesEx" => returns(""),
                "WaitForUpdatesEx" => Some(success()),
                _ => None,
            }
        };
        let runtime = Runtime::new().unwrap();
        let fake = runtime.block_on(Fake::but(script));
        let home = TestHome::new();
        Self {
            server: Server::start(&home),
            fake,
            _home: home,
            _runtime: runtime,
        }
    }

    fn call(&self, action: &str, more: Value) -> crate::support::Answer {
        let mut all = json!({
            "action": action, "host": "127.0.0.1", "port": self.fake.port, "user": "root",
            "password": "p", "moref": "vm-42", "timeout_s": 5
        });
        merge(&mut all, &more);
        let answer = self.server.call(all);
        let logins = self.fake.of("Login").len();
        assert_eq!(self.fake.of("Logout").len(), logins, "{}", answer.body);
        answer
    }
}

#[test]
fn c2_a_host_that_a_vcenter_manages_is_not_changed_behind_its_back() {
    let host = Host::new(property("summary.managementServerIp", "10.0.0.5"), "");
    let refused = host.call("power_off", json!({}));
    let body = refused.fails("host.managed", "none");
    assert_eq!(body["vcenter"], "10.0.0.5");
    assert_eq!(body["findings"], json!(["managed_host"]));
    assert!(body["error"].as_str().unwrap().contains("10.0.0.5"));
    assert!(host.fake.of("PowerOffVM_Task").is_empty());

    // Looking is allowed, and says so.
    let preview = host.call("power_off", json!({ "preview": true })).ok();
    let warning = preview["warnings"][0].as_str().unwrap();
    assert!(warning.contains("10.0.0.5"), "{preview}");
    host.call("get_vm", json!({})).ok();

    // Another finding is not this one.
    let other = json!({ "override": ["free_licence"] });
    host.call("power_off", other).fails("host.managed", "none");
    let accepted = json!({ "override": ["managed_host"] });
    let done = host.call("power_off", accepted).ok();
    assert_eq!(done["changed"], true);
    // The way back is the same way.
    assert_eq!(done["undo"]["override"], json!(["managed_host"]));
    assert_eq!(host.fake.of("PowerOffVM_Task").len(), 1);
}

#[test]
fn c2_a_host_with_the_free_licence_is_not_asked_to_change_anything() {
    const FREE: &str = "<LicenseManagerLicenseInfo><licenseKey>AAAAA-BBBBB</licenseKey>\
        <editionKey>esxBasic</editionKey><name>vSphere 8 Hypervisor</name></LicenseManagerLicenseInfo>";
    let host = Host::new(String::new(), FREE);
    let refused = host.call("power_off", json!({}));
    let body = refused.fails("vsphere.restricted_licence", "none");
    assert!(
        !body.to_string().contains("BBBBB"),
        "the key is no one's business"
    );
    assert!(host.fake.of("PowerOffVM_Task").is_empty());
    let accepted = json!({ "override": ["free_licence"] });
    host.call("power_off", accepted).ok();
}

#[test]
fn c2_a_host_of_its_own_with_a_paid_licence_is_changed() {
    const PAID: &str = "<LicenseManagerLicenseInfo><editionKey>esx.enterprisePlus</editionKey>\
        </LicenseManagerLicenseInfo>";
    for licences in [PAID, ""] {
        let host = Host::new(String::new(), licences);
        assert_eq!(host.call("power_off", json!({})).ok()["changed"], true);
    }
}

#[test]
fn c2_what_only_a_vcenter_can_do_is_refused_on_a_host_before_it_is_asked() {
    let lab = Lab::new(&["-esx", "-vm", "1"]);
    let tool = lab.server.request("tools/list", json!({}))["result"]["tools"][0].clone();
    let rows = tool["_meta"]["pilothouse/table"]["rows"]
        .as_object()
        .unwrap();
    let vm = lab.vm();
    for (word, row) in rows.iter().filter(|(_, row)| row["platform"] == "vcenter") {
        let mut arguments = crate::arguments::fitting(&tool, row);
        if row["arguments"]
            .as_array()
            .unwrap()
            .contains(&json!("moref"))
        {
            arguments["moref"] = vm["moref"].clone();
        }
        // Where a VM is to go is asked for before the server is known.
        if row["arguments"]
            .as_array()
            .unwrap()
            .contains(&json!("resource_pool"))
        {
            arguments["resource_pool"] = json!("any");
        }
        let answer = lab.call(word, arguments);
        let body = answer.fails("platform.unsupported", "none");
        assert!(
            body["error"].as_str().unwrap().contains("vCenter"),
            "{word}"
        );
    }
    lab.no_session_is_left();
}
