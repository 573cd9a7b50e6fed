//! Whole configurations: the shipped one, a small one, and what becomes of them.

mod faults;
mod meant;
mod refunds;

use super::*;
use crate::domain::money::Micros;
use crate::domain::period::{Timestamp, Validity};
use crate::domain::price::Buyer;
use crate::domain::product::Region;

pub const NAMES: Names<'_> = Names { quittance: "q.toml", products: "products.toml", prices: "prices.toml" };

pub const QUITTANCE: &str = r#"zone = "Asia/Shanghai"
[retention]
messages = "13 months"
"#;

pub const PRODUCTS: &str = r#"[[product]]
id = "sms"
name = "SMS"
channel = "sms"
region = "domestic"
unit = "message"
length = "domestic"
charge_on = "receipt"
priced_by = "template_type"
commodity = "SMSD"
income = "SMS"
validity = "24 months"
vat = [{ rate = "0.06" }, { from = 2026-01-01T00:00:00+08:00, rate = "0.09" }]

[[product]]
id = "intl"
name = "International"
channel = "sms"
region = "international"
unit = "message"
length = "international"
charge_on = "submission"
priced_by = "country"
commodity = "SMSI"
income = "Intl"
validity = "180 days"
vat = [{ rate = "0" }]
"#;

pub const PRICES: &str = r#"[[payg]]
product = "sms"
currency = "CNY"
template_types = ["verification", "notification"]
tiers = [
    { over = 0, up_to = 100, price = "0.045" },
    { over = 100, price = "0.040" },
]

[[payg]]
product = "intl"
currency = "USD"
effective_until = 2025-03-01T00:00:00+08:00
countries = { HK = "0.0832", SG = "0.05" }

[[payg]]
product = "intl"
currency = "USD"
effective_from = 2025-03-01T00:00:00+08:00
countries = { HK = "0.0577" }

[[package]]
id = "sms-1500"
product = "sms"
size = 1_500
currency = "CNY"
price = "75"
price_by_kind = { individual = "80" }
price_by_account = { A1 = "65" }
"#;

/// The small configuration with one piece of one of its files replaced.
pub fn with(piece: &str, replacement: &str) -> Result<Config, ConfigError> {
    let texts = [QUITTANCE, PRODUCTS, PRICES];
    let found: usize = texts.iter().map(|text| text.matches(piece).count()).sum();
    assert_ne!(found, 0, "`{piece}` is in none of the texts");
    let [quittance, products, prices] = texts.map(|text| text.replacen(piece, replacement, 1));
    Config::from_texts(&quittance, &products, &prices, NAMES)
}

fn buyer<'a>(account_id: &'a str, kind: &'a str, currency: &'a str) -> Buyer<'a> {
    Buyer { account_id, kind, currency }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

#[test]
fn the_small_configuration_has_no_fault() {
    let config = Config::from_texts(QUITTANCE, PRODUCTS, PRICES, NAMES).unwrap();
    assert_eq!((config.place.as_str(), config.zone.name()), ("q.toml", "Asia/Shanghai"));
    assert_eq!(
        (&config.database, config.retention.messages_months, config.max_ahead_minutes),
        (&None, 13, 5)
    );
    assert_eq!(config.max_jump_hours, 48);
    assert_eq!((config.unit_word("sms"), config.unit_word("none")), ("message", "unit"));
    let sms = config.catalog.get("sms").unwrap();
    assert_eq!(sms.vat_at(at("2025-12-31T23:59:59+08:00")), 60_000);
    assert_eq!(sms.vat_at(at("2026-01-01T00:00:00+08:00")), 90_000);
    let package = config.book.package("sms-1500").unwrap();
    assert_eq!(package.validity, Validity::Months(24));
    let shown = |account, kind| package.price_for(buyer(account, kind, "CNY")).unwrap().to_string();
    assert_eq!(
        [shown("A1", "individual"), shown("A2", "individual"), shown("A2", "enterprise")],
        ["65", "80", "75"]
    );
}

#[test]
fn each_kind_of_trace_is_kept_as_long_as_is_said() {
    let shipped = Config::built_in().unwrap();
    assert_eq!(shipped.retention, Retention::default());
    let said =
        "messages = \"24 months\"\ndeliveries = \"1 month\"\nruns = \"7 days\"\nrejected_lines = \"30 days\"";
    let config = with("messages = \"13 months\"", said).unwrap();
    let expected =
        Retention { messages_months: 24, deliveries_months: 1, runs_days: 7, rejected_lines_days: 30 };
    assert_eq!(config.retention, expected);
}

#[test]
fn a_source_may_have_a_zone_of_its_own() {
    let zones = "[ingest]\nmax_ahead = \"10 minutes\"\nzones = { smpp = \"Europe/Berlin\" }\n[retention]";
    let config = with("[retention]", zones).unwrap();
    let zone = |source| config.source_zones.get(&source).map(|zone| zone.name());
    assert_eq!((zone(Source::Smpp), zone(Source::Aliyun)), (Some("Europe/Berlin"), None));
    assert_eq!(config.max_ahead_minutes, 10);
}

#[test]
fn a_source_may_write_ids_in_its_own_way() {
    let config =
        with("[retention]", "[ingest.message_ids]\nsmpp = \"decimal to %08x\"\n[retention]").unwrap();
    let id = |source| config.message_ids.get(&source).map(|form| form.of_message("1023").into_owned());
    assert_eq!((id(Source::Smpp), id(Source::Cmpp)), (Some("000003ff".to_owned()), None));
}

#[test]
fn only_domestic_plans_are_renewed_unless_a_product_says_so() {
    let shipped = Config::built_in().unwrap();
    let renewed = shipped.catalog.products.iter().filter(|product| product.renewal);
    assert_eq!(renewed.map(|product| &*product.id).collect::<Vec<_>>(), ["sms-domestic"]);
    assert_eq!(shipped.renewals_per_day, 3);
    // What products.toml does not say is not so.
    let plain = Config::from_texts(QUITTANCE, PRODUCTS, PRICES, NAMES).unwrap();
    assert!(plain.catalog.products.iter().all(|product| !product.renewal));
    let often = with("[retention]", "[renewal]\nmax_per_day = 7\n[retention]").unwrap();
    assert_eq!(often.renewals_per_day, 7);
}

#[test]
fn the_fingerprint_is_of_the_three_texts() {
    let print = |config: Result<Config, ConfigError>| config.unwrap().fingerprint;
    let plain = print(Config::from_texts(QUITTANCE, PRODUCTS, PRICES, NAMES));
    assert_eq!(plain.len(), 64);
    assert_eq!(plain, print(with("13 months", "13 months")));
    for (piece, replacement) in [("13 months", "14 months"), ("\"SMS\"", "\"Sms\""), ("0.0577", "0.0578")] {
        assert_ne!(plain, print(with(piece, replacement)), "{piece}");
    }
}

#[test]
fn the_shipped_files_carry_the_published_prices() {
    let config = Config::load(None).unwrap();
    assert_eq!(config.place, "built in");
    let price = |product, class, currency, time| {
        let rate = config.book.rate(product, class, buyer("A1", "enterprise", currency), at(time));
        rate.map(|rate| rate.next_unit(0).0)
    };
    let (before, after) = ("2025-02-28T23:59:59.999999+08:00", "2025-03-01T00:00:00+08:00");
    assert_eq!(price("sms-international", "HK", "USD", before), Some(Micros(83_200)));
    assert_eq!(price("sms-international", "HK", "USD", after), Some(Micros(57_700)));
    assert_eq!(price("sms-international", "RU", "USD", after), Some(Micros(300_000)));
    assert_eq!(price("sms-international", "CN", "USD", after), None);
    assert_eq!(price("direct-mail", "", "USD", after), Some(Micros(290)));
    assert_eq!(price("direct-mail", "", "CNY", after), Some(Micros(2_000)));
    for (class, units, total) in [
        ("verification", 3_000_001, "113300.036"),
        ("notification", 111_000, "4940"),
        ("promotional", 100_001, "5500.05"),
    ] {
        let rate =
            config.book.rate("sms-domestic", class, buyer("A1", "enterprise", "CNY"), at(after)).unwrap();
        assert_eq!(rate.month_total(units).unwrap().to_string(), total);
    }
}

#[test]
fn the_shipped_files_sell_every_product_in_its_currencies() {
    let config = Config::built_in().unwrap();
    let product = |channel, region| &*config.catalog.of_message(channel, region).unwrap().id;
    assert_eq!(product("sms", Region::Domestic), "sms-domestic");
    assert_eq!(product("sms", Region::International), "sms-international");
    assert_eq!(product("email", Region::International), "direct-mail");
    for (currency, products) in [
        ("CNY", vec!["sms-domestic", "sms-international", "direct-mail"]),
        ("USD", vec!["sms-international", "direct-mail"]),
    ] {
        let offers =
            config.book.packages_for(buyer("A1", "individual", currency), at("2026-03-01T00:00:00+08:00"));
        let mut sold: Vec<&str> = offers.iter().map(|(package, _)| &*package.product).collect();
        sold.dedup();
        assert_eq!(sold, products);
    }
    // Every country that has a price in dollars has one in yuan.
    let countries = |currency| -> Vec<&str> {
        let rates = config.book.rates.iter();
        let mut countries: Vec<&str> = rates
            .filter(|rate| &*rate.product == "sms-international" && &*rate.currency == currency)
            .map(|rate| &*rate.class)
            .collect();
        countries.dedup();
        countries
    };
    assert_eq!(countries("USD"), countries("CNY"));
    assert_eq!(countries("USD").len(), 35);
}

#[test]
fn a_new_product_is_configuration_only() {
    let voice = r#"
[[product]]
id = "voice"
name = "Voice"
channel = "voice"
unit = "minute"
length = "one"
charge_on = "submission"
priced_by = "nothing"
commodity = "VOICE"
income = "Voice"
validity = "1 month"
vat = [{ rate = "0.06" }]
"#;
    let list = "[[payg]]\nproduct = \"voice\"\ncurrency = \"EUR\"\nprice = \"0.1\"\n";
    let config =
        Config::from_texts(QUITTANCE, &format!("{PRODUCTS}{voice}"), &format!("{PRICES}{list}"), NAMES)
            .unwrap();
    assert_eq!(&*config.catalog.of_message("voice", Region::Domestic).unwrap().id, "voice");
    let rate = config.book.rate("voice", "", buyer("A1", "enterprise", "EUR"), Timestamp(0)).unwrap();
    assert_eq!(rate.month_total(3), Ok(Micros(300_000)));
    assert_eq!(config.unit_word("voice"), "minute");
}

#[test]
fn messages_without_a_template_type_have_a_list_of_their_own() {
    let list =
        "[[payg]]\nproduct = \"sms\"\ncurrency = \"CNY\"\ntemplate_types = [\"none\"]\nprice = \"0.06\"\n";
    let config = Config::from_texts(QUITTANCE, PRODUCTS, &format!("{PRICES}{list}"), NAMES).unwrap();
    let price = |class: &str| {
        let rate = config.book.rate("sms", class, buyer("A1", "enterprise", "CNY"), Timestamp(0));
        rate.map(|rate| rate.next_unit(0).0)
    };
    assert_eq!(["", "verification", "none"].map(price), [Some(Micros(60_000)), Some(Micros(45_000)), None]);
}

#[test]
fn files_are_read_beside_the_first_and_missing_ones_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("q.toml"), format!("prices = \"2026.toml\"\n{QUITTANCE}")).unwrap();
    std::fs::write(path("2026.toml"), PRICES.replace("size = 1_500", "size = 0")).unwrap();
    let error = Config::load(Some(&path("q.toml"))).unwrap_err();
    let shown: Vec<String> = error.faults.iter().map(Fault::to_string).collect();
    let dir = dir.path().display();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0].starts_with(&format!("{dir}/2026.toml:25:8: the size 0 is not possible")), "{shown:?}");
    assert!(
        shown[1].starts_with(&format!("{dir}/q.toml:1:1: `products`: {dir}/products.toml can't be read (")),
        "{shown:?}"
    );
    std::fs::write(path("products.toml"), PRODUCTS).unwrap();
    std::fs::write(path("2026.toml"), PRICES).unwrap();
    let config = Config::load(Some(&path("q.toml"))).unwrap();
    assert_eq!(config.place, path("q.toml").display().to_string());
    let missing = Config::load(Some(&path("none.toml"))).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("{dir}/none.toml: the file can't be read (")), "{missing}");
}
