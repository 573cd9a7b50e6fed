//! What refunds took back of what is invoiced, or is about to be: it lowers an invoice (R59, D28).

use std::collections::BTreeMap;

use super::{Allowance, InvoiceKind};
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;
use crate::domain::product::Catalog;

/// Money for failures of units that were on a bill, or bought by an order: by product and time of the sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunded {
    pub kind: InvoiceKind,
    /// The bill's month, the order's id.
    pub reference: String,
    pub product: String,
    /// The window that was billed, or when the order was placed: it tells the VAT rate.
    pub sold_at: Timestamp,
    pub amount: Micros,
}

impl Refunded {
    /// Whether it took back something of a bill or an order.
    pub fn is_of(&self, kind: InvoiceKind, reference: &str) -> bool {
        self.kind == kind && self.reference == reference
    }
}

/// What refunds took back of what an invoice is about, and of what earlier ones were about: it is lowered by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deficit {
    pub amount: Micros,
    /// What was given back of the very bill or order that the invoice is about. No other invoice can bear that.
    pub own: Micros,
    /// What of it was supplied under each VAT rate, in millionths: under that rate the VAT comes back, also
    /// where the next invoice has no supply of it.
    pub rates: BTreeMap<i64, Micros>,
}

impl Deficit {
    /// What is to come off an invoice about a bill or an order: `amount`, which these refunds come to less what
    /// invoices were lowered by before.
    pub fn of(
        amount: Micros,
        (kind, reference): (InvoiceKind, &str),
        refunds: &[Refunded],
        lowered: &[Allowance],
        catalog: &Catalog,
    ) -> Deficit {
        let own = refunds.iter().filter(|of| of.is_of(kind, reference)).map(|of| of.amount.0).sum();
        let mut rates: BTreeMap<i64, Micros> = BTreeMap::new();
        for of in refunds {
            if let Some(product) = catalog.get(&of.product) {
                let rate = rates.entry(product.vat_at(of.sold_at)).or_default();
                *rate = Micros(rate.0.saturating_add(of.amount.0));
            }
        }
        for less in lowered {
            let rate = rates.entry(less.vat_ppm).or_default();
            *rate = Micros(rate.0.saturating_sub(less.gross.0));
        }
        Deficit { amount, own: Micros(own), rates }
    }
}
