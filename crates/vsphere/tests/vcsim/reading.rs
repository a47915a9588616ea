//! Pages, the inventory, searches.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use vsphere::{Client, FilterSpec, MoRef, Via};

use crate::support::Vcsim;
use crate::{all, first_vm, session};

#[tokio::test]
async fn c2_pages_are_followed_to_the_end() {
    let sim = Vcsim::start(&["-vm", "3", "-pool", "1"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let root = session.content().need("rootFolder").unwrap();
    let spec = [FilterSpec::inventory(
        &root,
        &[("VirtualMachine", &["name", "runtime.powerState"])],
    )];
    let whole: BTreeSet<String> = session
        .collect(&spec)
        .await
        .unwrap()
        .iter()
        .map(|o| o.reference.id.clone())
        .collect();
    assert!(whole.len() >= 6, "{whole:?}");
    let mut seen = Vec::new();
    let done = session
        .retrieve(&spec, 2, |object| {
            assert!(!object.text("name").unwrap().is_empty());
            seen.push(object.reference.id);
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
    assert_eq!(done.pages, whole.len().div_ceil(2));
    assert_eq!((done.objects, done.complete), (whole.len(), true));
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), whole);
    // A sink that wants no more ends it early, and the session goes on.
    let mut some = 0;
    let done = session
        .retrieve(&spec, 2, |_| {
            some += 1;
            if some == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await
        .unwrap();
    assert_eq!((done.objects, done.pages, done.complete), (3, 2, false));
    assert!(session.current_time().await.is_ok());
    session.logout().await.unwrap();
}

#[tokio::test]
async fn c2_the_whole_inventory_is_found() {
    let sim = Vcsim::start(&[
        "-dc", "2", "-vm", "1", "-app", "1", "-pod", "1", "-pool", "1", "-folder", "1",
    ]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let mut counts = Vec::new();
    for kind in [
        "Datacenter",
        "Folder",
        "VirtualMachine",
        "HostSystem",
        "ComputeResource",
        "ResourcePool",
        "VirtualApp",
        "Datastore",
        "Network",
        "StoragePod",
    ] {
        counts.push((kind, all(&session, kind, &["name"]).await.len()));
    }
    let one_call = {
        let root = session.content().need("rootFolder").unwrap();
        let types: Vec<(&str, &[&str])> =
            ["Datacenter", "Folder", "ComputeResource", "ResourcePool"]
                .into_iter()
                .map(|kind| (kind, &["name", "parent"][..]))
                .collect();
        session
            .collect(&[FilterSpec::inventory(&root, &types)])
            .await
            .unwrap()
    };
    let of = |kind| counts.iter().find(|(k, _)| *k == kind).unwrap().1;
    assert_eq!(of("Datacenter"), 2, "{counts:?}");
    // A cluster with a pool and an app, and a host alone, in each of two datacenters.
    assert_eq!(of("VirtualApp"), 2, "{counts:?}");
    assert_eq!(of("ComputeResource"), 4, "{counts:?}");
    assert_eq!(of("StoragePod"), 2, "{counts:?}");
    assert_eq!(of("HostSystem"), 8, "{counts:?}");
    assert!(
        of("VirtualMachine") >= 6 && of("Datastore") >= 2 && of("Network") >= 2,
        "{counts:?}"
    );
    assert_eq!(
        one_call.len(),
        2 + of("Folder") + of("ComputeResource") + of("ResourcePool")
    );
    session.logout().await.unwrap();
}

#[tokio::test]
async fn c2_unset_unreadable_and_gone_are_told_apart() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let vm = first_vm(&session).await;
    let object = session
        .properties(&vm, &["name", "snapshot", "no.such.path"])
        .await
        .unwrap()
        .unwrap();
    assert!(object.get("name").is_some() && object.get("snapshot").is_none());
    assert!(
        object.is_unreadable("no.such.path") && !object.is_unreadable("snapshot"),
        "{object:?}"
    );
    let gone = session
        .properties(&MoRef::new("VirtualMachine", "vm-nowhere"), &["name"])
        .await
        .unwrap();
    assert_eq!(gone, None);
    let both = [vm.clone(), MoRef::new("VirtualMachine", "vm-nowhere")];
    let page = session
        .collect(&[FilterSpec::objects("VirtualMachine", &both, &["name"])])
        .await
        .unwrap();
    assert!(page.iter().any(|o| o.reference == vm), "{page:?}");
    session.logout().await.unwrap();
}

#[tokio::test]
async fn c9_vms_are_found_by_uuid() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let vms = all(
        &session,
        "VirtualMachine",
        &["summary.config.uuid", "summary.config.instanceUuid"],
    )
    .await;
    for vm in &vms {
        for (path, instance) in [
            ("summary.config.uuid", false),
            ("summary.config.instanceUuid", true),
        ] {
            let found = session
                .find_all_by_uuid(vm.text(path).unwrap(), instance)
                .await
                .unwrap();
            assert_eq!(found.vms, std::slice::from_ref(&vm.reference));
            assert!(matches!(found.via, Via::SearchIndex | Via::Inventory));
        }
    }
    let none = session
        .find_all_by_uuid("00000000-0000-0000-0000-000000000000", true)
        .await
        .unwrap();
    assert_eq!(none.vms, []);
    session.logout().await.unwrap();
}
