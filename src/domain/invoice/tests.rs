use proptest::prelude::*;

use super::*;

fn money(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}

fn supply(product: &str, vat_ppm: i64, amount: &str) -> Supply {
    Supply { product: product.into(), units: 10, vat_ppm, amount: money(amount) }
}

fn owed(amount: Micros, rates: &[(i64, &str)]) -> Deficit {
    let rates = rates.iter().map(|(rate, gross)| (*rate, money(gross))).collect();
    Deficit { amount, rates, ..Deficit::default() }
}

fn reckon(supplies: &[Supply], amount: &str, deficit: &str) -> Result<Figures, InvoiceRefusal> {
    figures(supplies, money(amount), &owed(money(deficit), &[]), "fee")
}

#[test]
fn vat_is_computed_once_a_rate_and_lines_sum_to_it() {
    let supplies = [supply("a", 60_000, "0.054"), supply("b", 60_000, "0.054"), supply("c", 90_000, "109")];
    let invoice = reckon(&supplies, "109.10", "0").unwrap();
    let shares: Vec<_> = invoice.breakdown.iter().map(|s| (s.vat_ppm, s.net, s.vat, s.gross)).collect();
    let six = (60_000, money("0.09"), money("0.01"), money("0.1"));
    assert_eq!(shares, [six, (90_000, money("100"), money("9"), money("109"))]);
    let lines: Vec<_> = invoice.lines.iter().map(|line| (line.gross, line.net)).collect();
    // 0.05 / 1.06 is 0.05 for each line, but 0.09 for both.
    assert_eq!(
        lines,
        [(money("0.05"), money("0.05")), (money("0.05"), money("0.04")), (money("109"), money("100"))]
    );
    assert_eq!((invoice.net, invoice.vat, invoice.total), (money("100.09"), money("9.01"), money("109.1")));
}

#[test]
fn refunds_after_earlier_invoices_lower_the_next_one() {
    let supplies = [supply("a", 60_000, "500")];
    assert_eq!(reckon(&supplies, "500", "200").unwrap().total, money("300"));
    let whole = InvoiceRefusal::Deficit { amount: money("500"), deficit: money("500") };
    assert_eq!(reckon(&supplies, "500", "500"), Err(whole));
    assert_eq!(reckon(&supplies, "500", "499.991").unwrap_err().code(), "invoice_deficit");
    assert_eq!(reckon(&supplies, "500", "499.99").unwrap().total, money("0.01"));
    assert_eq!(reckon(&supplies, "500", "-7").unwrap().total, money("500"));
}

/// The VAT of what went back comes back under its own rate, also where that is none of the invoice's.
#[test]
fn a_deficit_keeps_the_rates_that_it_was_supplied_under() {
    let shares = |rates: &[(i64, &str)]| {
        let supplies = [supply("a", 90_000, "500")];
        let invoice = figures(&supplies, money("500"), &owed(money("200"), rates), "fee").unwrap();
        assert_eq!(invoice.total, money("300"));
        let shares = invoice.breakdown.into_iter();
        (shares.map(|share| (share.vat_ppm, share.gross, share.vat)).collect::<Vec<_>>(), invoice.vat)
    };
    let back = (60_000, money("-200"), money("-11.32"));
    let whole = (90_000, money("500"), money("41.28"));
    assert_eq!(shares(&[(60_000, "200")]), (vec![back, whole], money("29.96")));
    let (half, rest) = ((60_000, money("-100"), money("-5.66")), (90_000, money("400"), money("33.03")));
    assert_eq!(shares(&[(60_000, "100"), (90_000, "100")]), (vec![half, rest], money("27.37")));
    // What was offset under a rate too far is not given a second time.
    assert_eq!(shares(&[(60_000, "-5"), (90_000, "205")]).1, money("24.77"));
}

/// No other invoice can bear what was given back of something that nobody invoiced.
#[test]
fn of_what_was_given_back_whole_nothing_is_invoiced() {
    let supplies = [supply("a", 60_000, "5")];
    let given_back = |own: &str| {
        let deficit = Deficit { own: money(own), ..owed(money(own), &[]) };
        figures(&supplies, money("5"), &deficit, "fee").map(|invoice| invoice.total)
    };
    assert_eq!(given_back("5"), Err(InvoiceRefusal::GivenBack));
    assert_eq!(given_back("4.991"), Err(InvoiceRefusal::GivenBack));
    assert_eq!(given_back("4.99"), Ok(money("0.01")));
    assert_eq!(InvoiceRefusal::GivenBack.code(), "nothing_to_invoice");
}

#[test]
fn nothing_is_invoiced_for_nothing() {
    assert_eq!(reckon(&[], "0", "0"), Err(InvoiceRefusal::Nothing));
    assert_eq!(reckon(&[supply("a", 60_000, "0.009")], "0.009", "0"), Err(InvoiceRefusal::Nothing));
    assert_eq!(reckon(&[supply("a", 60_000, "-5")], "-5", "0"), Err(InvoiceRefusal::Nothing));
}

#[test]
fn credit_codes_are_checked_by_their_last_character_and_their_shape() {
    for code in ["91110108769914581E", "91330106673959654P", "12100000400010000L"] {
        assert_eq!(CreditCode::parse(code).unwrap().to_string(), code);
        let other = if code.ends_with('E') { "P" } else { "E" };
        assert_eq!(CreditCode::parse(&format!("{}{other}", &code[..17])), None);
    }
    for text in
        ["", "91330106673959654p", "9133010667395965", "91330106673959654PP", "9133010667395965IP", "短"]
    {
        assert_eq!(CreditCode::parse(text), None, "{text}");
    }
    // Their last character follows, but nobody registered them, or in no division.
    for text in ["000000000000000000", "013301066739596541", "91330A066739596546", "91000000673959654B"] {
        assert_eq!(CreditCode::parse(text), None, "{text}");
    }
}

#[test]
fn what_stands_on_an_invoice_is_seen_and_read_as_it_is_written() {
    let long = "x".repeat(200);
    for text in ["Acme", "杭州某某科技有限公司", "مي\u{200c}خواهم", "שלום\u{200f}", "👩\u{200d}🚀", &long]
    {
        assert!(is_printable(text), "{text:?}");
    }
    let longer = format!("{long}x");
    let unseen = ["", " ", "\u{200b}", "\u{feff}\u{2060} \u{ad}", "\u{3164}", "\u{2800}\u{e0041}"];
    let turned = ["a\u{202e}b", "a\u{2066}b", "a\nb", "a\u{2028}b", "a\u{7}", &longer];
    for text in unseen.into_iter().chain(turned) {
        assert!(!is_printable(text), "{text:?}");
    }
}

proptest! {
    #[test]
    fn an_invoice_always_adds_up(
        parts in prop::collection::vec((0..4usize, 0..3usize, 1..50_000_000i64), 1..8),
        rest in 0..CENT,
        deficit in 0..60_000_000i64,
        rates in prop::collection::btree_map(prop::sample::select(vec![0i64, 60_000, 90_000]), -9..60_000_000i64, 0..3),
    ) {
        let supplies: Vec<Supply> = parts.iter().map(|(product, rate, amount)| Supply {
            product: product.to_string(),
            units: 1,
            vat_ppm: [0, 60_000, 130_000][*rate],
            amount: Micros(*amount),
        }).collect();
        // As a bill's total: rounded down, or the nearest.
        let sum: i64 = parts.iter().map(|(_, _, amount)| amount).sum();
        let amount = Micros((sum + rest / 2) / CENT * CENT);
        let rates = rates.into_iter().map(|(rate, gross)| (rate, Micros(gross))).collect();
        let deficit = Deficit { amount: Micros(deficit), rates, ..Deficit::default() };
        if let Ok(invoice) = figures(&supplies, amount, &deficit, "fee") {
            let owed = (deficit.amount.0 + CENT - 1) / CENT * CENT;
            prop_assert_eq!(invoice.total.0, amount.0 - owed);
            prop_assert_eq!(invoice.net.0 + invoice.vat.0, invoice.total.0);
            for share in &invoice.breakdown {
                let of_lines = invoice.lines.iter().any(|line| line.vat_ppm == share.vat_ppm);
                let of_less = invoice.allowances.iter().any(|less| less.vat_ppm == share.vat_ppm);
                prop_assert!(of_lines || of_less, "nothing is of {}", share.vat_ppm);
                let of_rate = |rate: i64| rate == share.vat_ppm;
                let lines = invoice.lines.iter().filter(|line| of_rate(line.vat_ppm));
                let less = invoice.allowances.iter().filter(|less| of_rate(less.vat_ppm));
                let (gross, net) = lines.fold((0, 0), |sum, line| (sum.0 + line.gross.0, sum.1 + line.net.0));
                let (gross, net) = less.fold((gross, net), |sum, a| (sum.0 - a.gross.0, sum.1 - a.net.0));
                prop_assert_eq!((gross, net), (share.gross.0, share.net.0));
                prop_assert!((share.net.0 * (1_000_000 + share.vat_ppm) / 1_000_000 - share.gross.0).abs() <= CENT);
            }
            let cents = invoice.lines.iter().all(|line| line.gross.0 % CENT == 0 && line.net.0 % CENT == 0);
            prop_assert!(cents && invoice.total.0 > 0);
        }
    }
}
