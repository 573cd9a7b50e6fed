//! What must hold of issued invoices beyond what SQL can tell (I24).

use crate::domain::money::Micros;
use crate::store::db::{Tx, values};
use crate::store::error::StoreError;
use crate::store::invoices::{INVOICES, hash, invoice};
use crate::store::scope::Scope;

/// Invoices that are not what they were when they were issued: their content has another hash, or their lines
/// come to something else than was paid.
pub async fn changed_invoices(tx: &mut Tx, scope: &Scope) -> Result<Vec<String>, StoreError> {
    const PORTION: usize = 1_000;
    let sql = INVOICES.replacen(" from invoices i", ", i.amount from invoices i", 1);
    let sql = scope.narrow(&format!("{sql} where i.invoice_id > $1 order by i.invoice_id limit {PORTION}"));
    let (mut changed, mut after) = (Vec::new(), String::new());
    loop {
        let rows = tx.rows(&*sql, values![&after]).await?;
        for row in &rows {
            let (invoice, content, known) = invoice(row)?;
            let paid = Micros(row.int(16)?).round_down_to_cents();
            let lines = invoice.lines.iter().map(|line| line.gross.0).sum();
            let is_right = hash(&invoice, &content) == known && paid == Micros(lines);
            changed.extend((!is_right).then_some(invoice.number));
            after = invoice.invoice_id;
        }
        if rows.len() < PORTION {
            return Ok(changed);
        }
    }
}
