//! The small configuration with one fault planted: what is said of it, and where.

use super::*;

fn faults(result: Result<Config, ConfigError>) -> String {
    result.map_or_else(|error| error.to_string(), |config| panic!("{} has no fault", config.place))
}

/// Each row: what is replaced, by what, and the faults exactly as they print.
pub(super) fn check(rows: &[(&str, &str, &str)]) {
    for (piece, replacement, expected) in rows {
        assert_eq!(faults(with(piece, replacement)), *expected, "{piece} -> {replacement}");
    }
}

#[test]
fn faults_of_settings_are_told() {
    check(&[
        ("zone =", "zome =", "q.toml:1:1: the key `zome` is unknown: did you mean `zone`?"),
        (
            "Asia/Shanghai",
            "Asia/Peking",
            "q.toml:1:8: `zone`: `Asia/Peking` is not a time zone: write such as \"Asia/Shanghai\"",
        ),
        (
            "zone = \"Asia/Shanghai\"",
            "zone = ",
            "q.toml:1:8: this is not TOML: string values must be quoted, expected literal string",
        ),
        (
            "messages = \"13 months\"",
            "messages = 13",
            "q.toml:3:12: `messages`: this is a number: write a text in quotes",
        ),
        (
            "13 months",
            "400 days",
            "q.toml:3:12: `messages`: this is counted in months: write such as \"13 months\"",
        ),
        (
            "[retention]",
            "[ingest]\nmax_ahead = \"2 days\"\n[retention]",
            "q.toml:3:13: `max_ahead`: `2 days` is not a number of minutes up to a day: write such as \"5 minutes\"",
        ),
        (
            "[retention]",
            "[ingest.zones]\nsmpp = \"Mars/Base\"\nalyun = \"UTC\"\n\
             generic = \"UTC\"\nfax = \"UTC\"\naws = 8\n[retention]",
            "q.toml:3:8: `smpp`: `Mars/Base` is not a time zone: write such as \"Asia/Shanghai\"\n\
             q.toml:4:1: `alyun` is not a source: did you mean `aliyun`?\n\
             q.toml:5:1: times of `generic` must name their offset: it has no zone to give\n\
             q.toml:6:1: `fax` is not a source: use one of generic, aliyun, \
             aliyun_intl, twilio, vonage, aws, smpp, cmpp, dm_event\n\
             q.toml:7:7: `aws`: this is a number: write a text in quotes",
        ),
        (
            "[retention]",
            "[ingest.message_ids]\ngeneric = \"decimal to %d\"\nsmpp = \"dec to %x\"\n[retention]",
            "q.toml:4:8: `smpp`: `dec to %x` is no form of ids: write `decimal` or `hex`, as receipts have it, and \
             `%d`, `%x`, `%X` or `%08x`, as messages do, such as \"decimal to %08x\"",
        ),
        (
            "messages = \"13 months\"",
            "deliveries = \"90 days\"\nruns = \"2 years\"\nrejected_line = \"9 days\"",
            "q.toml:3:14: `deliveries`: this is counted in months: write such as \"13 months\"\n\
             q.toml:4:8: `runs`: `2 years` is not a number of days up to a year: write such as \"3 days\"\n\
             q.toml:5:1: the key `rejected_line` is unknown: did you mean `rejected_lines`?",
        ),
        (
            "[retention]\nmessages = \"13 months\"",
            "retention = 13",
            "q.toml:2:13: `retention`: this is a number: write a table, { .. }",
        ),
        (
            "[retention]",
            "[payments]",
            "q.toml:2:2: the key `payments` is unknown here: use one of database, database_file, zone, products, prices, retention, ingest, clock, runs, renewal, schedule, http, refund, spool, bills, invoices, notices, smtp, sms, webhook",
        ),
    ]);
}

#[test]
fn faults_of_free_units_and_quotas_are_told() {
    let income = "income = \"Intl\"";
    let with = |more: &str| format!("{income}\n{more}");
    check(&[
        (
            "income = \"SMS\"",
            "income = \"SMS\"\nfree = { total = 9, per_day = 2 }",
            "products.toml:12:8: `free`: only what is charged on submission has free units: leave it out",
        ),
        (
            income,
            &with("free = { total = 0, per_dy = 2 }"),
            "products.toml:26:8: the key `per_day` is missing: add it here\n\
             products.toml:26:18: `total`: write 1 or more, or leave `free` out\n\
             products.toml:26:21: the key `per_dy` is unknown: did you mean `per_day`?",
        ),
        (
            income,
            &with("quota = { levels = [] }"),
            "products.toml:26:20: `levels`: there is no level: list the daily quotas from the lowest, such as [2_000, 5_000]",
        ),
        (
            income,
            &with("quota = { levels = [20, 20, -1], raise = { used = \"1\", delivred = \"0.9\" } }"),
            "products.toml:26:25: the level 20 is not above 20: list them in order\n\
             products.toml:26:29: `levels`: -1 is not possible: write 1 to 1000000000000\n\
             products.toml:26:56: the key `delivred` is unknown: did you mean `delivered`?",
        ),
        (
            income,
            &with("quota = { levels = [9], raise = { invalid = \"0.2\" } }"),
            "products.toml:26:33: `raise`: a week could be good enough for the next level and bad enough for the one below",
        ),
    ]);
}

#[test]
fn faults_of_products_are_told() {
    check(&[
        (
            "name = \"SMS\"",
            "nmae = \"SMS\"",
            "products.toml:1:1: the key `name` is missing: add it here\nproducts.toml:3:1: the key `nmae` is unknown: did you mean `name`?",
        ),
        (
            "unit = \"message\"",
            "unit = \"Short message\"",
            "products.toml:6:8: `unit`: `Short message` is not a word for commands: use up to 64 small letters, digits, - _ and .",
        ),
        (
            "length = \"domestic\"",
            "length = \"domestik\"",
            "products.toml:7:10: `length`: `domestik` is unknown: did you mean `domestic`?",
        ),
        (
            "charge_on = \"receipt\"",
            "charge_on = \"delivery\"",
            "products.toml:8:13: `charge_on`: `delivery` is unknown: use one of receipt, submission",
        ),
        (
            "charge_on = \"receipt\"",
            "charge_on = \"receipt\"\nreturn_order = \"source\"",
            "products.toml:9:16: `return_order`: `source` is unknown: use one of literal, same_source",
        ),
        (
            "charge_on = \"submission\"",
            "charge_on = \"submission\"\nreturn_order = \"literal\"",
            "products.toml:23:16: `return_order`: only what is charged on receipt gives units back: leave it out",
        ),
        (
            "commodity = \"SMSD\"",
            "commodity = \"sms\"",
            "products.toml:10:13: `commodity`: `sms` is not a commodity: write 4 to 24 capital letters, such as SMSD",
        ),
        (
            "commodity = \"SMSI\"",
            "commodity = \"SMSD\"",
            "products.toml:15:1: intl and sms both count their units as SMSD: give each product its own commodity",
        ),
        (
            "commodity = \"SMSI\"",
            "commodity = \"CNY\"",
            "products.toml:24:13: `commodity`: `CNY` is not a commodity: write 4 to 24 capital letters, such as SMSD",
        ),
        (
            "income = \"SMS\"",
            "income = \"sms\"",
            "products.toml:11:10: `income`: `sms` is no branch of the accounts: write words that begin with a capital, such as SMS:Domestic",
        ),
        (
            "24 months",
            "2 years",
            "products.toml:12:12: `validity`: `2 years` is not a validity: write such as \"24 months\" or \"180 days\"",
        ),
        (
            "region = \"international\"\n",
            "",
            "products.toml:15:1: intl and sms both claim messages of channel sms: give them different channels or regions",
        ),
        (
            "vat = [{ rate = \"0\" }]\n",
            "",
            "products.toml:15:1: the key `vat` is missing: write vat = [{ rate = \"0.06\" }], \"0\" where there is none",
        ),
        (
            "[{ rate = \"0\" }]",
            "[]",
            "products.toml:27:7: `vat`: there is no rate: write one, \"0\" where there is none",
        ),
        (
            "rate = \"0\"",
            "rate = \"6\"",
            "products.toml:27:17: `rate`: 6 is not a rate: write \"0\" to \"0.999999\", \"0.06\" for 6 %",
        ),
        (
            "from = 2026-01-01T00:00:00+08:00, ",
            "",
            "products.toml:13:27: the key `from` is missing: add it here",
        ),
        (
            "{ rate = \"0.06\" }",
            "{ from = 2026-01-01T00:00:00+08:00, rate = \"0.06\" }",
            "products.toml:13:70: `from`: this is not after the rate before: write the rates in order of time",
        ),
    ]);
}

#[test]
fn faults_of_a_packages_countries_are_told() {
    let size = "size = 1_500";
    check(&[
        (
            size,
            "size = 1_500\ncountries = [\"HK\"]",
            "prices.toml:26:13: `countries`: only packages of a product that is priced by country are for some of them",
        ),
        (
            "product = \"sms\"\nsize = 1_500",
            "product = \"intl\"\nexcept = [\"US\"]\ncountries = [\"hk\"]\nsize = 1_500",
            "prices.toml:25:10: `except`: a package is for some countries or for all but some: leave one of the two out\n\
             prices.toml:26:14: `countries`: `hk` is not a country: write its two capital letters, such as HK",
        ),
        (
            "product = \"sms\"\nsize = 1_500",
            "product = \"intl\"\nexcept = []\nsize = 1_500",
            "prices.toml:25:10: `except`: there is no country: name one, such as \"HK\"",
        ),
    ]);
}

#[test]
fn what_the_books_can_not_hold_is_told() {
    check(&[
        (
            "currency = \"CNY\"",
            "currency = \"CNY\"\nmethod = \"volume\"\neffective_from = 2026-01-01T00:00:01Z",
            "prices.toml:5:18: `effective_from`: volume prices are billed by 5-minute windows: let the list begin and end \
             with one",
        ),
        (
            "price = \"0.040\"",
            "price = \"1000000.000001\"",
            "prices.toml:7:27: `price`: a unit costs at most 1000000, so that sums stay countable",
        ),
        (
            "currency = \"CNY\"",
            "currency = \"KWD\"",
            "prices.toml:3:12: `currency`: `KWD` has no hundredths (3 decimal places), which bills and payments are counted \
             in",
        ),
    ]);
}

#[test]
fn faults_of_prices_and_tiers_are_told() {
    check(&[
        (
            "price = \"0.045\"",
            "price = 0.045",
            "prices.toml:6:38: `price`: the number 0.045 is not kept exactly: put it in quotes, \"0.045\"",
        ),
        (
            "price = \"0.040\"",
            "price = \"0,04\"",
            "prices.toml:7:27: `price`: `0,04` is not an amount: write digits with an optional decimal point, such as 12.50",
        ),
        (
            "price = \"0.040\"",
            "price = \"-0.04\"",
            "prices.toml:7:5: the price -0.04 is negative: write 0 or more",
        ),
        (
            "price = \"0.040\"",
            "price = \"0.0000001\"",
            "prices.toml:7:27: `price`: `0.0000001` is finer than a millionth of the currency unit: write at most six decimals",
        ),
        (
            "currency = \"CNY\"",
            "currency = \"cny\"",
            "prices.toml:3:12: `currency`: `cny` is not a currency: write three capital letters, such as CNY",
        ),
        (
            "product = \"sms\"",
            "product = \"smss\"",
            "prices.toml:2:11: `product`: `smss` is not in the products: add it there, or use one of intl, sms",
        ),
        (
            "currency = \"CNY\"",
            "currency = \"CNY\"\nper = 7",
            "prices.toml:4:7: `per`: 7 is not 1 or 1000: prices are for one unit or for a thousand",
        ),
        (
            "currency = \"CNY\"",
            "currency = \"CNY\"\nper = 1000\naccount = \"A1\"\naccount_kind = \"individual\"",
            "prices.toml:6:16: `account_kind`: a list is for one account or for one kind: leave one of the two out",
        ),
        (
            "currency = \"CNY\"",
            "currency = \"CNY\"\nmethod = \"volumes\"",
            "prices.toml:4:10: `method`: `volumes` is unknown: did you mean `volume`?",
        ),
        ("over = 0", "over = 1", "prices.toml:6:5: the first tier begins over 1: begin it over 0"),
        (
            "up_to = 100,",
            "up_to = 90,",
            "prices.toml:7:5: between 90 and 100 units there is no price: begin this tier over 90",
        ),
        (
            "up_to = 100,",
            "up_to = 110,",
            "prices.toml:7:5: the tier begins over 100, but the one before ends at 110: begin it over 110",
        ),
        (
            "up_to = 100, ",
            "",
            "prices.toml:7:5: the tier before has no upper bound, so this one is never reached: give that one its up_to",
        ),
        (
            "up_to = 100,",
            "up_to = 100.0,",
            "prices.toml:6:25: `up_to`: 100.0 is not a whole number: write it without a point",
        ),
        (
            "over = 100, price",
            "over = 100, up_to = 300, price",
            "prices.toml:7:5: over 300 units there is no price: leave up_to out of the last tier",
        ),
        (
            "over = 100, price",
            "ovr = 100, price",
            "prices.toml:7:5: the key `over` is missing: add it here\nprices.toml:7:7: the key `ovr` is unknown: did you mean `over`?",
        ),
        (
            "tiers = [\n    { over = 0, up_to = 100, price = \"0.045\" },\n    { over = 100, price = \"0.040\" },\n]",
            "tiers = []",
            "prices.toml:1:1: the list has no tier: give it at least one",
        ),
        (
            "tiers = [",
            "price = \"1\"\ntiers = [",
            "prices.toml:5:9: `price`: the prices stand in tiers already: leave one of the two out",
        ),
    ]);
}

#[test]
fn faults_of_what_a_price_list_is_for_are_told() {
    check(&[
        (
            "template_types = [\"verification\", \"notification\"]",
            "template_types = [\"verification\", \"verification\"]",
            "prices.toml:4:35: `verification` stands here twice: leave one out",
        ),
        (
            "\"notification\"]",
            "\"promotion\"]",
            "prices.toml:4:35: `template_types`: `promotion` is unknown: did you mean `promotional`?",
        ),
        (
            "template_types = [\"verification\", \"notification\"]\n",
            "",
            "prices.toml:1:1: sms is priced by template type: give template_types = [..] with a price or tiers",
        ),
        (
            "template_types = [\"verification\", \"notification\"]\ntiers",
            "teirs",
            "prices.toml:1:1: sms is priced by template type: give template_types = [..] with a price or tiers\nprices.toml:1:1: the list has no price: give a price, or tiers\nprices.toml:4:1: the key `teirs` is unknown: did you mean `tiers`?",
        ),
        (
            "HK = \"0.0577\"",
            "hk = \"0.0577\"",
            "prices.toml:20:15: `hk` is not a country: write its two capital letters, such as HK",
        ),
        (
            "HK = \"0.0577\"",
            "CN = \"0.0577\"",
            "prices.toml:20:15: `CN` is domestic: an international list has no price for it, but for HK, MO and TW (R138)",
        ),
        (
            "HK = \"0.0577\"",
            "HK = 1",
            "prices.toml:20:20: `HK`: the number 1 is not kept exactly: put it in quotes, \"1\"",
        ),
        (
            "countries = { HK = \"0.0577\" }",
            "price = \"1\"",
            "prices.toml:16:1: intl is priced by country: give countries = { HK = \"..\" } only",
        ),
        (
            "countries = { HK = \"0.0577\" }",
            "countries = { HK = \"0.0577\" }\nmethod = \"volume\"\nprice = \"1\"",
            "prices.toml:21:10: `method`: volume prices a month by its tiers: give tiers, or leave the method out\nprices.toml:22:9: `price`: a list by country has its prices in countries: leave this out",
        ),
        (
            "effective_from = 2025-03-01T00:00:00+08:00",
            "effective_from = 2025-03-02T00:00:00+08:00",
            "prices.toml:20:15: intl HK in USD for everyone: leaves a gap in time after the list before; let that one end when this one begins (the list before: prices.toml:14)",
        ),
        (
            "effective_from = 2025-03-01T00:00:00+08:00",
            "effective_from = 2025-02-28T00:00:00+08:00",
            "prices.toml:20:15: intl HK in USD for everyone: overlaps in time with the list before; let that one end when this one begins (the list before: prices.toml:14)",
        ),
        (
            "effective_from = 2025-03-01T00:00:00+08:00",
            "effective_from = 2025-03-01T00:00:00",
            "prices.toml:19:18: `effective_from`: `2025-03-01T00:00:00` is not a moment: write date, time with seconds, and offset, such as 2026-03-01T00:00:00+08:00",
        ),
        (
            "effective_from = 2025-03-01T00:00:00+08:00",
            "effective_from = 2025-03-01T00:00:00+08:00\neffective_until = 2025-03-01T00:00:00+08:00",
            "prices.toml:21:15: the end is not after the start: mend one of the two times",
        ),
    ]);
}

#[test]
fn faults_of_packages_are_told() {
    check(&[
        (
            "size = 1_500",
            "size = 0",
            "prices.toml:25:8: the size 0 is not possible: write 1 to 1000000000000 units",
        ),
        (
            "size = 1_500",
            "size = \"1500\"",
            "prices.toml:25:8: `size`: \"1500\" is a text: write the number without quotes",
        ),
        (
            "price = \"75\"",
            "price = 75",
            "prices.toml:27:9: `price`: the number 75 is not kept exactly: put it in quotes, \"75\"",
        ),
        (
            "price = \"75\"\nprice_by_kind = { individual = \"80\" }\nprice_by_account = { A1 = \"65\" }\n",
            "",
            "prices.toml:22:1: the package has no price: give it one, for everyone, for a kind or for an account",
        ),
        (
            "individual = \"80\"",
            "person = \"80\"",
            "prices.toml:28:19: `person` is not a kind of account: use individual or enterprise",
        ),
        ("A1 = \"65\"", "A1 = \"-65\"", "prices.toml:22:1: the price -65 is negative: write 0 or more"),
        (
            "price = \"75\"",
            "price = \"75\"\non_sale_until = 2026-01-01",
            "prices.toml:28:17: `on_sale_until`: `2026-01-01` is not a moment: write date, time with seconds, and offset, such as 2026-03-01T00:00:00+08:00",
        ),
        (
            "[[package]]",
            "[[package]]\nid = \"sms-1500\"\nproduct = \"intl\"\nsize = 1\ncurrency = \"USD\"\nprice = \"1\"\n[[package]]",
            "prices.toml:29:6: the id `sms-1500` is taken by another package: ids are kept on orders, choose a new one (the other: prices.toml:22)",
        ),
        (
            "[[package]]",
            "[[packages]]",
            "prices.toml:22:3: the key `packages` is unknown: did you mean `package`?",
        ),
    ]);
}

#[test]
fn all_faults_of_all_files_are_told_at_once_sorted_by_place() {
    let quittance = QUITTANCE.replace("zone", "zome");
    let products = PRODUCTS.replace("\"receipt\"", "\"never\"").replace("\"Intl\"", "\"intl\"");
    let prices =
        PRICES.replace("up_to = 100,", "up_to = 90,").replace("\"0.05\"", "0.05").replace("\"75\"", "75");
    let error = Config::from_texts(&quittance, &products, &prices, NAMES).unwrap_err();
    let places: Vec<String> =
        error.faults.iter().map(|fault| fault.to_string().split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(
        places,
        [
            "prices.toml:7:5",
            "prices.toml:14:35",
            "prices.toml:27:9",
            "products.toml:8:13",
            "products.toml:25:10",
            "q.toml:1:1"
        ]
    );
    assert_eq!(error.to_string().lines().count(), error.faults.len());
}

#[test]
fn prices_are_not_called_unknown_because_the_products_are_not_toml() {
    let error = faults(with("channel = \"sms\"", "channel = sms"));
    assert_eq!(
        error,
        "products.toml:4:11: this is not TOML: string values must be quoted, expected literal string"
    );
}
