//! What is written well and still can't be meant: it would never do anything, or something else.

use super::faults::check;
use super::*;

#[test]
fn countries_that_do_not_exist_are_told() {
    check(&[
        (
            "SG = \"0.05\"",
            "UK = \"0.05\", QQ = \"1\"",
            "prices.toml:14:30: `UK` is not a country of ISO 3166: did you mean `GB`?\n\
             prices.toml:14:43: `QQ` is not a country of ISO 3166: write one that is, such as HK",
        ),
        (
            "product = \"sms\"\nsize = 1_500",
            "product = \"intl\"\ncountries = [\"GB\", \"UK\"]\nsize = 1_500",
            "prices.toml:25:20: `countries`: `UK` is not a country of ISO 3166: did you mean `GB`?",
        ),
        (
            "product = \"sms\"\nsize = 1_500",
            "product = \"intl\"\nexcept = [\"QQ\"]\nsize = 1_500",
            "prices.toml:25:11: `except`: `QQ` is not a country of ISO 3166: write one that is, such as HK",
        ),
        (
            "[retention]",
            "[invoices]\nname = \"Example\"\ncountry = \"ZZ\"\n[retention]",
            "q.toml:4:11: `country`: `ZZ` is not a country of ISO 3166: write one that is, such as HK",
        ),
    ]);
}

#[test]
fn kosovo_and_numbers_of_no_country_may_have_a_price() {
    let others = "XK = \"0.05\", AC = \"1\", TA = \"1\", ZZ = \"2\"";
    let config = with("SG = \"0.05\"", others).unwrap();
    let usd = buyer("A1", "enterprise", "USD");
    for country in ["XK", "AC", "TA", "ZZ"] {
        assert!(config.book.rate("intl", country, usd, Timestamp(0)).is_some(), "{country}");
    }
    let except = "product = \"intl\"\nexcept = [\"CN\", \"XK\", \"ZZ\"]\nsize = 1_500";
    with("product = \"sms\"\nsize = 1_500", except).unwrap();
}

#[test]
fn international_packages_for_mainland_china_are_told() {
    check(&[(
        "product = \"sms\"\nsize = 1_500",
        "product = \"intl\"\ncountries = [\"HK\", \"CN\"]\nsize = 1_500",
        "prices.toml:25:20: `countries`: `CN` is domestic: plans of an international product never pay for it, \
         but for HK, MO and TW (R138)",
    )]);
}

#[test]
fn price_lists_for_nothing_are_told() {
    let no_country = "there is no country: give one its price, such as HK = \"0.05\"";
    check(&[
        (
            "[\"verification\", \"notification\"]",
            "[]",
            "prices.toml:4:18: `template_types`: there is no template type: name one, such as \"verification\"",
        ),
        (
            "[\"verification\", \"notification\"]",
            "[\"none\", \"none\"]",
            "prices.toml:4:27: `none` stands here twice: leave one out",
        ),
        ("{ HK = \"0.0577\" }", "{}", &format!("prices.toml:20:13: `countries`: {no_country}")),
        (
            "countries = { HK = \"0.0577\" }",
            "[payg.countries]",
            &format!("prices.toml:20:1: `countries`: {no_country}"),
        ),
    ]);
}

#[test]
fn faults_of_renewals_are_told() {
    let renewed = PRODUCTS.replacen("validity =", "renewal = true\nvalidity =", 1);
    let too_short = |time| {
        format!(
            "prices.toml:22:1: a plan renewed for {time} would be renewed again at once: 11 days are the least (D62)"
        )
    };
    for (keys, expected) in [
        ("renewal_validity = \"10 days\"", too_short("10 days")),
        ("validity = \"7 days\"\nrenewal_discount = \"0.1\"", too_short("7 days")),
        (
            "renewal_discount = \"10\"",
            "prices.toml:28:20: `renewal_discount`: 10 is not a rate: write \"0\" to \"0.999999\", \"0.06\" for 6 %"
                .to_owned(),
        ),
    ] {
        let prices = PRICES.replace("price = \"75\"", &format!("price = \"75\"\n{keys}"));
        let error = Config::from_texts(QUITTANCE, &renewed, &prices, NAMES).unwrap_err();
        assert_eq!(error.to_string(), expected, "{keys}");
    }
}

#[test]
fn renewal_terms_of_what_is_never_renewed_are_told() {
    check(&[(
        "price = \"75\"",
        "price = \"75\"\nrenewal_discount = \"0.1\"\nrenewal_validity = \"12 months\"",
        "prices.toml:28:20: `renewal_discount`: plans of sms are not renewed: leave it out, or give sms renewal = true\n\
         prices.toml:29:20: `renewal_validity`: plans of sms are not renewed: leave it out, or give sms renewal = true",
    )]);
}

#[test]
fn schedules_that_never_come_are_told() {
    check(&[(
        "[retention]",
        "[schedule]\nmonthly-bills = \"0 0 31 2 *\"\naudit-books = \"0 4 30 2 *\"\n[retention]",
        "q.toml:3:17: `monthly-bills`: `0 0 31 2 *` never comes: name a day that there is, or write \"off\"\n\
         q.toml:4:15: `audit-books`: `0 4 30 2 *` never comes: name a day that there is, or write \"off\"",
    )]);
}

#[test]
fn a_spool_without_a_directory_is_told() {
    check(&[("[retention]", "[spool]\n[retention]", "q.toml:2:1: the key `dir` is missing: add it here")]);
}

#[test]
fn vat_rates_that_begin_within_a_window_are_told() {
    check(&[(
        "2026-01-01T00:00:00+08:00",
        "2026-01-01T00:02:00+08:00",
        "products.toml:13:36: `from`: what is booked by 5-minute windows changes with one: write a time such as \
         00:00:00 or 08:05:00",
    )]);
}

#[test]
fn each_clash_of_a_product_is_told() {
    let intl = "region = \"international\"\nunit = \"message\"\nlength = \"international\"\n\
                charge_on = \"submission\"\npriced_by = \"country\"\ncommodity = \"SMSI\"";
    let both = "products.toml:15:1: intl and sms both claim messages of channel sms: give them different channels \
                or regions\n\
                products.toml:15:1: intl and sms both count their units as SMSD: give each product its own commodity";
    check(&[(
        intl,
        &intl.replace("\"international\"\nunit", "\"domestic\"\nunit").replace("SMSI", "SMSD"),
        both,
    )]);
    // One without a region stands in the way of both.
    let third = PRODUCTS.split("\n\n").next().unwrap().replace("id = \"sms\"", "id = \"all\"");
    let third = third.replace("region = \"domestic\"\n", "").replace("SMSD", "SMSA");
    let error = Config::from_texts(QUITTANCE, &format!("{PRODUCTS}\n{third}\n"), PRICES, NAMES).unwrap_err();
    let others = ["intl", "sms"].map(|other| format!("all and {other} both claim messages of channel sms"));
    assert_eq!(error.faults.len(), 2, "{error}");
    assert!(error.faults.iter().zip(others).all(|(fault, other)| fault.what.starts_with(&other)), "{error}");
}

#[test]
fn prices_for_accounts_that_cannot_be_are_told() {
    let rule = "an account id has 1 to 64 letters, digits or . _ - @ : + and begins with a letter or digit";
    check(&[
        (
            "{ A1 = \"65\" }",
            "{ \"\" = \"1\", \"a b\\nc\" = \"1\", \"a@b.c:1\" = \"1\" }",
            &format!(
                "prices.toml:29:22: `` can't be an account: {rule}\n\
                 prices.toml:29:32: `a b\\nc` can't be an account: {rule}"
            ),
        ),
        (
            "currency = \"CNY\"",
            "currency = \"CNY\"\naccount = \"../acme\"",
            &format!("prices.toml:4:11: `account`: `../acme` can't be an account: {rule}"),
        ),
    ]);
}
