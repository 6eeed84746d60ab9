use super::*;
use proptest::prelude::*;

fn device(index: u16) -> DeviceReport {
    let class: ClassName = "simulated-H100".parse().unwrap();
    let facts = DeviceFacts::simulated(&class, index);
    DeviceReport { index, uuid: GpuUuid::from_bytes([u8::try_from(index).unwrap(); 16]), class, facts }
}

fn report() -> ClaimReport {
    ClaimReport::new(machine_id(&[b'a'; 32]), vec![device(0), device(3)]).unwrap()
}

#[test]
fn a_report_reads_like_this_and_reads_back() {
    let one = ClaimReport::new(None, vec![device(0)]).unwrap().to_json();
    assert_eq!(
        one,
        concat!(
            r#"{"version":2,"devices":[{"index":0,"uuid":"GPU-00000000-0000-0000-0000-000000000000","#,
            r#""class":"simulated-H100","facts":{"memory_bytes":85520809984,"sms":132,"compute_capability":"9.0","#,
            r#""l2_bytes":52428800,"sm_clock_max_mhz":1980,"pci_bus":"00000000:00:00.0","pci_id":"10de:2330","#,
            r#""driver":"570.124.06","mig":false}}]}"#
        )
    );
    assert_eq!(ClaimReport::parse(report().to_json().as_bytes()).unwrap(), report());
}

#[test]
fn what_a_driver_need_not_tell_may_be_missing_and_nothing_else() {
    let json = report().to_json();
    let without = |field: &str| {
        let start = json.find(field).unwrap();
        let length = json[start..].find(',').unwrap_or(0) + 1;
        ClaimReport::parse(json.replacen(&json[start..start + length], "", 1).as_bytes())
    };
    let silent = without("\"sm_clock_max_mhz\":").unwrap();
    assert_eq!(silent.devices[0].facts.sm_clock_max_mhz, None);
    assert!(ClaimReport::parse(json.replace(",\"mig\":false", "").as_bytes()).is_ok());
    for field in ["memory_bytes", "sms", "compute_capability", "l2_bytes", "pci_bus", "pci_id", "driver"] {
        assert!(matches!(without(&format!("\"{field}\":")), Err(ClaimError::Json(_))), "{field}");
    }
}

#[test]
fn hostile_reports_are_refused_with_their_reason() {
    let json = report().to_json();
    let parse = |text: &str| ClaimReport::parse(text.as_bytes());
    assert!(matches!(parse(r#"{"version":1,"devices":[],"old":0}"#), Err(ClaimError::Version(1))));
    assert!(matches!(parse(&json.replacen("\"sms\"", "\"smz\":1,\"sms\"", 1)), Err(ClaimError::Json(_))));
    assert!(matches!(parse(&json.replacen(":132,", ":-1,", 1)), Err(ClaimError::Json(_))));
    assert!(matches!(parse(&json.replacen(":132,", ":132,\"sms\":132,", 1)), Err(ClaimError::Json(_))));
    for (from, to, named) in [
        (":85520809984,", ":0,", "memory_bytes"),
        (":85520809984,", ":18446744073709551615,", "memory_bytes"),
        (":132,", ":0,", "sms"),
        (":52428800,", ":1,", "l2_bytes"),
        (":1980,", ":4000000000,", "sm_clock_max_mhz"),
    ] {
        let refused = parse(&json.replacen(from, to, 1)).unwrap_err();
        assert!(
            matches!(refused, ClaimError::Implausible { index: 0, field } if field == named),
            "{refused}"
        );
    }
    assert!(matches!(parse(&" ".repeat(REPORT_BYTES_MAX + 1)), Err(ClaimError::TooLarge(_))));
    assert!(matches!(parse(&"[".repeat(REPORT_BYTES_MAX)), Err(ClaimError::Json(_))));
}

#[test]
fn no_device_is_listed_twice_under_any_name() {
    let twin = |change: &dyn Fn(&mut DeviceReport)| {
        let mut other = device(3);
        change(&mut other);
        ClaimReport::new(None, vec![device(0), other]).unwrap_err()
    };
    assert!(matches!(twin(&|d| d.uuid = device(0).uuid), ClaimError::Repeated(_)));
    assert!(matches!(twin(&|d| d.index = 0), ClaimError::Order(0)));
    assert!(matches!(twin(&|d| d.facts.pci_bus = device(0).facts.pci_bus), ClaimError::SamePlace(_)));
    let many = (0..65).map(device).collect();
    assert!(matches!(ClaimReport::new(None, many), Err(ClaimError::Count(65))));
}

#[test]
fn a_full_node_fits_into_the_bound() {
    let all = ClaimReport::new(machine_id(&[b'0'; 32]), (0..64).map(device).collect()).unwrap();
    assert!(all.to_json().len() < REPORT_BYTES_MAX / 2);
}

#[test]
fn a_machine_is_known_by_a_hash_and_not_by_its_id() {
    let id = "0123456789abcdef0123456789abcdef";
    let shown = machine_id(format!("{id}\n").as_bytes()).unwrap();
    assert_eq!(shown, machine_id(id.to_uppercase().as_bytes()).unwrap());
    assert!(!shown.to_string().contains(&id[..8]));
    for none in ["", "uninitialized\n", &id[1..]] {
        assert_eq!(machine_id(none.as_bytes()), None, "{none}");
    }
}

proptest! {
    #[test]
    fn no_bytes_upset_the_reader(cut in 0usize..900, at in 0usize..900, byte: u8) {
        let mut json = report().to_json().into_bytes();
        if let Some(hit) = json.get_mut(at) {
            *hit = byte;
        }
        json.truncate(cut);
        if let Ok(read) = ClaimReport::parse(&json) {
            prop_assert_eq!(ClaimReport::parse(read.to_json().as_bytes()).unwrap(), read);
        }
    }
}
