//! The books: balanced entries from the provider's side, one cause each.
//!
//! Debits are positive, credits negative; the postings of an entry sum to zero per commodity.
//! Money is counted in micro-units of the account's currency, plan units in the product's own
//! commodity (`SMSD`, `SMSI`, `MAIL`), so that counts balance as money does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::account::{Funds, Split};
use super::money::{Micros, MoneyFault};
use super::period::Timestamp;
use super::product::{ChargeOn, Product};

/// An account of the chart. Those of one customer's plan carry its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ledger {
    Bank,
    /// Pay-as-you-go accrued and not yet billed, gross.
    Unbilled,
    /// Billed or claimed and not paid.
    Receivable,
    /// Cash that the customer has paid in and not yet spent.
    Balance,
    /// Prepaid units not yet used, net of VAT.
    ContractPlan(i64),
    /// Charged on receipt and not yet final, net of VAT.
    PendingReceipt,
    /// VAT of what is not yet invoiced.
    VatPending,
    /// VAT of what is invoiced.
    VatOutput,
    /// Revenue: the product's branch, and whether a plan or pay-as-you-go earned it.
    Income(Arc<str>, Earned),
    /// What giving back plan units as money costs beyond their own value.
    RefundDifference,
    /// Plan value that ended with its plan.
    Breakage,
    /// Claimed for violations of the terms (R57).
    Penalty,
    /// What bills leave out below a hundredth of the currency unit (D13).
    RoundDown,
    /// Units that a plan can still pay with.
    QuotaPlan(i64),
    /// Units charged on receipt and not yet final.
    QuotaPending,
    QuotaIssued,
    QuotaConsumed,
    /// Units that ended with their plan.
    QuotaExpired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Earned {
    Plan,
    Payg,
}

impl Ledger {
    /// The number of the plan that the account belongs to; 0 for none.
    pub fn plan_no(&self) -> i64 {
        match self {
            Ledger::ContractPlan(no) | Ledger::QuotaPlan(no) => *no,
            _ => 0,
        }
    }

    /// Where units drawn from a plan wait or go, and their value: until the receipt, or at once.
    fn destination(product: &Product, earned: Earned) -> Ledger {
        match product.charge_on {
            ChargeOn::Receipt => Ledger::PendingReceipt,
            ChargeOn::Submission => Ledger::Income(product.income.clone(), earned),
        }
    }
}

/// The name in the chart of accounts, without the customer's and the plan's own parts.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ledger::Bank => "Assets:Bank",
            Ledger::Unbilled => "Assets:Unbilled",
            Ledger::Receivable => "Assets:Receivable",
            Ledger::Balance => "Liabilities:Customer:Balance",
            Ledger::ContractPlan(_) => "Liabilities:Contract:Plan",
            Ledger::PendingReceipt => "Liabilities:Pending:Receipt",
            Ledger::VatPending => "Liabilities:VAT:Pending",
            Ledger::VatOutput => "Liabilities:VAT:Output",
            Ledger::Income(branch, Earned::Plan) => return write!(f, "Income:{branch}:Plan"),
            Ledger::Income(branch, Earned::Payg) => return write!(f, "Income:{branch}:Payg"),
            Ledger::RefundDifference => "Income:RefundDifference",
            Ledger::Breakage => "Income:Breakage",
            Ledger::Penalty => "Income:Penalty",
            Ledger::RoundDown => "Income:RoundDown",
            Ledger::QuotaPlan(_) => "Quota:Plan",
            Ledger::QuotaPending => "Quota:Pending",
            Ledger::QuotaIssued => "Equity:Quota:Issued",
            Ledger::QuotaConsumed => "Equity:Quota:Consumed",
            Ledger::QuotaExpired => "Equity:Quota:Expired",
        })
    }
}

/// What caused an entry. Its text is the entry's key: no cause is ever posted twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    TopUp {
        reference: String,
    },
    Order {
        order_no: i64,
    },
    /// Cash paid out to the customer.
    Withdrawal {
        reference: String,
    },
    /// The account's so many-eth penalty.
    Penalty {
        penalty_no: i64,
    },
    /// What an order gave back: the order's so many-eth refund.
    Refund {
        order_no: i64,
        refund_no: i64,
    },
    /// The end of a plan: what is left of it is forfeited.
    Expiry {
        plan_no: i64,
    },
    /// A month's bill and its payment; the month as 202603.
    Bill {
        month: i64,
    },
    /// VAT that an invoice made payable, and what its return took back.
    Invoice {
        invoice_no: i64,
    },
    InvoiceReturn {
        invoice_no: i64,
    },
    /// The charges of one window in one run.
    Charge {
        window: Timestamp,
        run_no: i64,
    },
    /// What a run gave back for the failures that were received at one time; a run with very many takes
    /// them in portions, from 0.
    Return {
        received_at: Timestamp,
        run_no: i64,
        portion: i64,
    },
    /// What became final in a run, up to a moment.
    Final {
        at: Timestamp,
        run_no: i64,
    },
    /// What a run found charged in windows that were final before.
    FinalLate {
        at: Timestamp,
        run_no: i64,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::TopUp { reference } => write!(f, "top-up:{reference}"),
            Cause::Order { order_no } => write!(f, "order:{order_no}"),
            Cause::Withdrawal { reference } => write!(f, "withdrawal:{reference}"),
            Cause::Penalty { penalty_no } => write!(f, "penalty:{penalty_no}"),
            Cause::Refund { order_no, refund_no } => write!(f, "refund:{order_no}:{refund_no}"),
            Cause::Expiry { plan_no } => write!(f, "expiry:{plan_no}"),
            Cause::Bill { month } => write!(f, "bill:{month}"),
            Cause::Invoice { invoice_no } => write!(f, "invoice:{invoice_no}"),
            Cause::InvoiceReturn { invoice_no } => write!(f, "invoice-return:{invoice_no}"),
            Cause::Charge { window, run_no } => write!(f, "charge:{}:{run_no}", window.0 / 1_000_000),
            Cause::Return { received_at, run_no, portion: 0 } => {
                write!(f, "return:{}:{run_no}", received_at.0)
            }
            Cause::Return { received_at, run_no, portion } => {
                write!(f, "return:{}:{run_no}:{portion}", received_at.0)
            }
            Cause::Final { at, run_no } => write!(f, "final:{}:{run_no}", at.0),
            Cause::FinalLate { at, run_no } => write!(f, "final-late:{}:{run_no}", at.0),
        }
    }
}

/// One balanced entry of an account's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub cause: Cause,
    /// Business time: of a charge, the start of its window.
    pub at: Timestamp,
    /// Amounts by ledger account and commodity, without zeros.
    pub postings: BTreeMap<(Ledger, Arc<str>), i64>,
}

/// Why an entry was refused. Either is a fault of the program or of stored state: it parks the
/// account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    #[error("the entry for {cause} does not balance: {commodity} sums to {sum}")]
    Unbalanced { cause: String, commodity: String, sum: i128 },
    #[error(transparent)]
    Money(#[from] MoneyFault),
}

impl Entry {
    pub fn new(cause: Cause, at: Timestamp) -> Entry {
        Entry { cause, at, postings: BTreeMap::new() }
    }

    /// Debits an account (credits it, where the amount is negative).
    pub fn debit(&mut self, ledger: Ledger, commodity: &Arc<str>, amount: i64) -> Result<(), LedgerFault> {
        if amount == 0 {
            return Ok(());
        }
        let posted = self.postings.entry((ledger, commodity.clone())).or_insert(0);
        *posted = posted.checked_add(amount).ok_or(MoneyFault::Overflow)?;
        Ok(())
    }

    pub fn credit(&mut self, ledger: Ledger, commodity: &Arc<str>, amount: i64) -> Result<(), LedgerFault> {
        self.debit(ledger, commodity, amount.checked_neg().ok_or(MoneyFault::Overflow)?)
    }

    /// Checks the balance and drops what cancelled out. Every entry ends here.
    pub fn balanced(mut self) -> Result<Entry, LedgerFault> {
        self.postings.retain(|_, amount| *amount != 0);
        let mut sums: BTreeMap<&Arc<str>, i128> = BTreeMap::new();
        for ((_, commodity), amount) in &self.postings {
            *sums.entry(commodity).or_default() += i128::from(*amount);
        }
        let off = sums.into_iter().find(|(_, sum)| *sum != 0);
        match off.map(|(commodity, sum)| (commodity.to_string(), sum)) {
            None => Ok(self),
            Some((commodity, sum)) => {
                Err(LedgerFault::Unbalanced { cause: self.cause.to_string(), commodity, sum })
            }
        }
    }

    /// A top-up: cash in the bank, owed to the customer; what is due is paid by it first.
    pub fn top_up(
        reference: &str,
        at: Timestamp,
        currency: &Arc<str>,
        funds: &mut Funds,
        amount: Micros,
    ) -> Result<Entry, LedgerFault> {
        let mut entry = Entry::new(Cause::TopUp { reference: reference.to_owned() }, at);
        entry.debit(Ledger::Bank, currency, amount.0)?;
        entry.post_paid_in(funds, currency, amount)?;
        entry.balanced()
    }

    /// Money for the customer, the credit side: it pays what is due first (D60).
    pub fn post_paid_in(
        &mut self,
        funds: &mut Funds,
        currency: &Arc<str>,
        amount: Micros,
    ) -> Result<Split, LedgerFault> {
        let split = funds.pay_in(amount)?;
        self.credit(Ledger::Receivable, currency, split.due.0)?;
        self.credit(Ledger::Balance, currency, split.balance.0)?;
        Ok(split)
    }

    /// A claim on the customer, the debit side: the balance pays as far as it goes, the rest is due.
    pub fn post_claimed(
        &mut self,
        funds: &mut Funds,
        currency: &Arc<str>,
        amount: Micros,
    ) -> Result<Split, LedgerFault> {
        let split = funds.claim(amount)?;
        self.debit(Ledger::Balance, currency, split.balance.0)?;
        self.debit(Ledger::Receivable, currency, split.due.0)?;
        Ok(split)
    }

    /// Units of a plan used: they and their released value move on to the receipt, or become
    /// revenue at once.
    pub fn post_plan_use(
        &mut self,
        product: &Product,
        currency: &Arc<str>,
        plan_no: i64,
        units: i64,
        released: Micros,
    ) -> Result<(), LedgerFault> {
        let quota = match product.charge_on {
            ChargeOn::Receipt => Ledger::QuotaPending,
            ChargeOn::Submission => Ledger::QuotaConsumed,
        };
        self.debit(Ledger::ContractPlan(plan_no), currency, released.0)?;
        self.credit(Ledger::destination(product, Earned::Plan), currency, released.0)?;
        self.debit(quota, &product.commodity, units)?;
        self.credit(Ledger::QuotaPlan(plan_no), &product.commodity, units)
    }

    /// Free units: given and used at once, worth no money (R30).
    pub fn post_free_use(&mut self, product: &Product, units: i64) -> Result<(), LedgerFault> {
        self.debit(Ledger::QuotaConsumed, &product.commodity, units)?;
        self.credit(Ledger::QuotaIssued, &product.commodity, units)
    }

    /// What was charged on receipt and did not fail: revenue, and units used up (R100).
    pub fn post_final(
        &mut self,
        product: &Product,
        currency: &Arc<str>,
        earned: Earned,
        units: i64,
        net: Micros,
    ) -> Result<(), LedgerFault> {
        self.debit(Ledger::PendingReceipt, currency, net.0)?;
        self.credit(Ledger::Income(product.income.clone(), earned), currency, net.0)?;
        if earned == Earned::Payg {
            return Ok(());
        }
        self.debit(Ledger::QuotaConsumed, &product.commodity, units)?;
        self.credit(Ledger::QuotaPending, &product.commodity, units)
    }

    /// Pay-as-you-go accrued: gross against the customer, net towards revenue, the rest VAT.
    pub fn post_accrual(
        &mut self,
        product: &Product,
        currency: &Arc<str>,
        gross: Micros,
        net: Micros,
    ) -> Result<(), LedgerFault> {
        self.debit(Ledger::Unbilled, currency, gross.0)?;
        self.credit(Ledger::destination(product, Earned::Payg), currency, net.0)?;
        self.credit(Ledger::VatPending, currency, gross.minus(net)?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cny() -> Arc<str> {
        "CNY".into()
    }

    #[test]
    fn a_top_up_is_owed_to_the_customer() {
        let mut funds = Funds { due: Micros(1_000_000), ..Funds::default() };
        let entry = Entry::top_up("bank-1", Timestamp(0), &cny(), &mut funds, Micros(5_000_000)).unwrap();
        let lines: Vec<_> = entry.postings.iter().map(|((l, _), a)| format!("{l} {a}")).collect();
        let posted =
            ["Assets:Bank 5000000", "Assets:Receivable -1000000", "Liabilities:Customer:Balance -4000000"];
        assert_eq!(lines, posted);
        assert_eq!((funds.balance, funds.due), (Micros(4_000_000), Micros::ZERO));
        assert_eq!(entry.cause.to_string(), "top-up:bank-1");
    }

    #[test]
    fn an_entry_that_does_not_balance_is_refused() {
        let mut entry = Entry::new(Cause::Order { order_no: 1 }, Timestamp(0));
        entry.debit(Ledger::Bank, &cny(), 5).unwrap();
        entry.credit(Ledger::Balance, &cny(), 4).unwrap();
        let fault = entry.balanced().unwrap_err();
        assert_eq!(fault.to_string(), "the entry for order:1 does not balance: CNY sums to 1");
    }

    #[test]
    fn postings_that_cancel_out_disappear() {
        let mut entry = Entry::new(Cause::Order { order_no: 1 }, Timestamp(0));
        entry.debit(Ledger::Bank, &cny(), 5).unwrap();
        entry.credit(Ledger::Bank, &cny(), 5).unwrap();
        assert!(entry.balanced().unwrap().postings.is_empty());
    }
}
