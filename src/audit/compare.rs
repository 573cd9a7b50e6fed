//! The books of an account beside what the recount says that they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gaps::Gap;
use super::recount::{History, Recounted, Sums};
use crate::domain::money::Micros;
use crate::domain::product::Catalog;
use crate::store::audit::EarnedRow;

/// Where an account's books and the recount differ; and what could not be compared, since the configuration
/// doesn't say how it was.
pub struct Compared {
    pub difference: Option<String>,
    pub gaps: BTreeSet<Gap>,
}

/// Compares an account's books, and what its products earned by their charges, with the recount.
pub fn compare(
    history: &History,
    mut stored: Sums,
    earned: Vec<EarnedRow>,
    recounted: Recounted,
    catalog: &Catalog,
) -> Compared {
    let Recounted { sums: mut counted, mut gaps } = recounted;
    stored.retain(|_, amount| *amount != 0);
    match_income(&mut stored, &mut counted, earned, catalog, &mut gaps);
    match_vat(&mut stored, &mut counted, &mut gaps);
    let is_given = |product: &str| history.given.products.contains(product);
    let any_back = history.money_back.iter().any(|back| is_given(&back.class[0]));
    let vat_unknown = any_back || gaps.iter().any(|gap| matches!(gap, Gap::Vat { .. }));
    let is_known = |name: &str| match name {
        "refund difference" => !vat_unknown,
        _ => is_counted(name, history, catalog),
    };
    for sums in [&mut stored, &mut counted] {
        sums.retain(|name, _| is_known(name));
    }
    Compared { difference: difference(&history.account_id, &stored, &counted), gaps }
}

/// Whether the recount goes over a sum: of a product that is not configured neither VAT nor price classes are
/// known, and of one whose charges are taken as the books say them no `volume` prices.
fn is_counted(name: &str, history: &History, catalog: &Catalog) -> bool {
    let mut words = name.split(' ');
    let (what, product) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
    match what {
        "accrued" | "tier" => catalog.get(product).is_some(),
        "adjustment" | "billed" => {
            catalog.get(product).is_some() && !history.given.products.contains(product)
        }
        _ => true,
    }
}

/// Revenue is to stand in the accounts of the product that earned it. Where some product is not configured, what
/// it earned is to be all that stands elsewhere.
fn match_income(
    stored: &mut Sums,
    counted: &mut Sums,
    earned: Vec<EarnedRow>,
    catalog: &Catalog,
    gaps: &mut BTreeSet<Gap>,
) {
    let mut of_unknown = 0;
    for (product, how, amount) in earned {
        match catalog.get(&product) {
            Some(product) => {
                *counted.entry(format!("Income:{}:{how}", product.income)).or_default() += i128::from(amount);
            }
            None => of_unknown += i128::from(amount),
        }
    }
    let ledgers: BTreeSet<String> = (catalog.products.iter())
        .flat_map(|product| ["Plan", "Payg"].map(|how| format!("Income:{}:{how}", product.income)))
        .collect();
    let elsewhere: BTreeMap<String, i128> =
        stored.extract_if(.., |name, _| is_income(name) && !ledgers.contains(name)).collect();
    if elsewhere.values().sum::<i128>() == of_unknown && (elsewhere.is_empty() || lacks_product(gaps)) {
        return;
    }
    // The accounts were named otherwise, or shared with a product that is not known.
    if !lacks_product(gaps) {
        gaps.extend(elsewhere.into_keys().map(Gap::Income));
    }
    for sums in [stored, counted] {
        sums.retain(|name, _| !is_income(name));
    }
}

fn is_income(name: &str) -> bool {
    name.starts_with("Income:")
}

fn lacks_product(gaps: &BTreeSet<Gap>) -> bool {
    gaps.iter().any(|gap| matches!(gap, Gap::Product(_)))
}

/// What differs by nothing but the VAT rate was charged at another than is configured: that each is split by its
/// own rate, the invariants ask (I15).
fn match_vat(stored: &mut Sums, counted: &mut Sums, gaps: &mut BTreeSet<Gap>) {
    let mut by_rate: BTreeMap<String, BTreeMap<i64, [i128; 2]>> = BTreeMap::new();
    for (index, sums) in [&*stored, &*counted].into_iter().enumerate() {
        for (name, amount) in sums {
            let taxed = name.starts_with("accrued ") || name.starts_with("adjustment ");
            let Some((of, ppm)) = name.rsplit_once(' ').filter(|_| taxed) else { continue };
            let Ok(ppm) = ppm.parse() else { continue };
            by_rate.entry(of.to_owned()).or_default().entry(ppm).or_default()[index] += amount;
        }
    }
    for (of, rates) in by_rate {
        let total = |index: usize| rates.values().map(|both| both[index]).sum::<i128>();
        let otherwise: Vec<i64> =
            (rates.iter()).filter(|(_, [stored, counted])| stored != counted).map(|(ppm, _)| *ppm).collect();
        if otherwise.is_empty() || total(0) != total(1) {
            continue;
        }
        let mut words = of.split(' ');
        let month = words.by_ref().nth(1).and_then(|month| month.parse().ok()).unwrap_or_default();
        let product: Arc<str> = words.next().unwrap_or_default().into();
        let charged = otherwise.iter().filter(|ppm| rates[ppm][0] != 0).copied().collect();
        gaps.insert(Gap::Vat { product, month, ppm: charged });
        for ppm in otherwise {
            stored.remove(&format!("{of} {ppm}"));
            counted.remove(&format!("{of} {ppm}"));
        }
    }
}

/// What is an amount of money in the recount; all else is units.
const MONEY: &[&str] = &["balance", "unbilled", "due", "refund difference"];
const OF_MONEY: &[&str] = &["accrued ", "adjustment ", "billed ", "Income:"];

/// The first difference of an account, and how many more there are.
fn difference(id: &str, stored: &Sums, counted: &Sums) -> Option<String> {
    let names: BTreeSet<&String> = stored.keys().chain(counted.keys()).collect();
    let amount = |sums: &Sums, name: &String| sums.get(name).copied().unwrap_or_default();
    let mut differ = names.into_iter().filter(|name| amount(stored, name) != amount(counted, name));
    let first = differ.next()?;
    let is_money = MONEY.contains(&first.as_str()) || OF_MONEY.iter().any(|what| first.starts_with(what));
    let said = |amount: i128| match (is_money, i64::try_from(amount)) {
        (true, Ok(amount)) => Micros(amount).for_people(),
        _ => amount.to_string(),
    };
    let (is, should) = (said(amount(stored, first)), said(amount(counted, first)));
    let more = match differ.count() {
        0 => String::new(),
        more => format!(" ({more} more of this account)"),
    };
    Some(format!("account {id}: {first} is {is} in the books and {should} by a recount{more}"))
}
