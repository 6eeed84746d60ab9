use super::*;
use crate::classes::CLASSES;

fn class(name: &str) -> ClassName {
    name.parse().unwrap()
}

fn row(name: &str, category: Category, min: u64, max: u64) -> Result<CardRow, CardError> {
    CardRow::new(class(name), category, min, max)
}

fn category(name: &str, mib: u64) -> Category {
    CardTable::built_in().category(&class(name), mib << 20)
}

#[test]
fn names_of_cards_find_their_category_and_no_other_names_do() {
    for (name, mib, expected) in [
        ("NVIDIA H100 80GB HBM3", 81_559, Category::H100),
        ("NVIDIA H100 PCIe", 81_559, Category::H100),
        ("NVIDIA H100 NVL", 95_830, Category::H100),
        ("NVIDIA H200", 143_771, Category::H200),
        ("NVIDIA A100-SXM4-40GB", 40_960, Category::A100),
        ("NVIDIA A100-SXM4-80GB", 81_251, Category::A100),
        ("NVIDIA B200", 183_359, Category::B200),
        ("NVIDIA A1000", 81_920, Category::Other),
        ("NVIDIA H100", 81_559, Category::Other),
        ("nvidia h100 pcie", 81_559, Category::Other),
        ("NVIDIA GeForce RTX 4090", 24_564, Category::Other),
        ("simulated-H100", 81_559, Category::H100),
        ("simulated-abacus", 24_564, Category::Other),
    ] {
        assert_eq!(category(name, mib), expected, "{name}");
    }
}

#[test]
fn a_known_name_with_another_memory_is_other() {
    for (name, mib) in [("NVIDIA A100-SXM4-80GB", 40_960), ("NVIDIA H200", 81_559), ("NVIDIA B200", 200_000)]
    {
        assert_eq!(category(name, mib), Category::Other, "{name}");
    }
}

#[test]
fn the_built_in_table_agrees_with_the_classes_for_every_card_that_may_pass() {
    let table = CardTable::built_in();
    for class in CLASSES {
        let named = Category::ALL.into_iter().find(|c| class.name.starts_with(&c.as_str().to_lowercase()));
        for name in class.nvml_names {
            let name = name.parse().unwrap();
            match (table.row(&name), named) {
                (Some(row), Some(named)) => {
                    assert_eq!(row.category, named, "{name}");
                    assert_eq!(row.class(), Some(class.name));
                    assert_eq!(table.possible(&name), (named, false), "the verdict's reader needs no memory");
                }
                (None, None) => assert_eq!(table.possible(&name).0, Category::Other),
                (row, _) => panic!("{name}: {row:?}"),
            }
        }
    }
    assert_eq!(table.possible(&class("simulated-B200")), (Category::B200, false));
    assert_eq!(
        table.possible(&class("NVIDIA H100 NVL")),
        (Category::H100, true),
        "no class bounds its memory"
    );
}

#[test]
fn an_entry_takes_the_place_of_the_row_of_its_name_and_of_no_other() {
    let entries = vec![
        row("NVIDIA H100 PCIe", Category::Other, 70_000, 90_000).unwrap(),
        row("NVIDIA GH200 480GB", Category::H100, 90_000, 100_000).unwrap(),
        row("NVIDIA H200", Category::H200, 143_000, 144_000).unwrap(),
    ];
    let table = CardTable::with(entries).unwrap();
    let found = |name: &str, mib: u64| table.category(&class(name), mib << 20);
    assert_eq!(found("NVIDIA H100 PCIe", 81_559), Category::Other);
    assert_eq!(found("NVIDIA GH200 480GB", 97_871), Category::H100);
    assert_eq!(found("NVIDIA GH200 480GB", 89_999), Category::Other);
    assert_eq!(found("NVIDIA H200", 143_771), Category::H200);
    assert_eq!(table.possible(&class("NVIDIA H200")), (Category::H200, true), "narrower than what may pass");
    assert_eq!(found("NVIDIA H100 80GB HBM3", 81_559), Category::H100, "untouched");
    assert_eq!(table.rows().filter(|row| row.configured).count(), 3);
    assert_eq!(table.row(&class("NVIDIA GH200 480GB")).unwrap().class(), None, "it counts for nothing yet");
}

#[test]
fn entries_that_could_never_be_right_are_refused_with_what_is_wrong() {
    let name = "NVIDIA H100 PCIe";
    for (entry, why) in [
        (row(name, Category::H100, 80, 82), "80 MiB is no card's memory; it is given in MiB"),
        (row(name, Category::H100, 70_000, 85_520_809_984), "85520809984 MiB is no card's memory"),
        (row(name, Category::H100, 90_000, 70_000), "no memory is at least 90000 MiB and at most 70000 MiB"),
        (row(name, Category::H100, 90_000, 99_000), "NVIDIA H100 PCIe has 81559 MiB, which is outside of"),
        (row("simulated-H100", Category::H100, 4_096, 8_192), "simulated-H100 has 81559 MiB"),
        (
            row("nvidia h100-PCIE", Category::H100, 70_000, 90_000),
            "drivers report this card as `NVIDIA H100 PCIe`",
        ),
    ] {
        let error = entry.unwrap_err().to_string();
        assert!(error.starts_with(why), "{error}");
    }
    let entry = || row("NVIDIA GH200 480GB", Category::H100, 90_000, 100_000).unwrap();
    let twice = CardTable::with(vec![entry(), entry()]).unwrap_err();
    assert_eq!(twice, (1, CardError::Twice(class("NVIDIA GH200 480GB"))));
    let many = (0..=CARDS_MAX).map(|n| row(&format!("NVIDIA X{n}"), Category::Other, 2_048, 4_096).unwrap());
    let (_, many) = CardTable::with(many.collect()).unwrap_err();
    assert_eq!(many, CardError::TooMany(CARDS_MAX + 1));
}
