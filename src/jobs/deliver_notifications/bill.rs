//! The bill that comes with its letter: drawn as it is sent, from what was issued, so that a second try
//! brings the same file. A bill that can't be drawn keeps no letter back: it goes without one.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::config::Config;
use crate::domain::bill::Bill;
use crate::domain::notice::{Channel, NoticeKind};
use crate::domain::period::Month;
use crate::export::pdf::{Issued, Language, Printer};
use crate::notify::{Answer, Attached, Parcel, Told};
use crate::printing;
use crate::store::{Db, StoreError, bills};

/// Draws the bills of a run.
pub struct Drawer {
    db: Db,
    config: Arc<Config>,
    /// Opened for the first bill.
    printer: Mutex<Option<Printer>>,
}

/// Why a letter goes without its bill.
enum Fault {
    /// The database may give it another time.
    Later(StoreError),
    Never(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        if error.is_transient() { Fault::Later(error) } else { Fault::Never(error.to_string()) }
    }
}

impl Drawer {
    pub fn new(db: &Db, config: &Arc<Config>) -> Drawer {
        Drawer { db: db.clone(), config: config.clone(), printer: Mutex::default() }
    }

    /// Puts the bill to a letter that tells of one.
    ///
    /// # Errors
    /// What becomes of the letter where the bill can't be read now.
    pub async fn attach(self: &Arc<Self>, parcel: Parcel, channel: Channel) -> Result<Parcel, Answer> {
        if channel != Channel::Email || parcel.told.kind != NoticeKind::BillReady {
            return Ok(parcel);
        }
        match self.draw(&parcel.told).await {
            Ok(attached) => Ok(Parcel { attached: Some(attached), ..parcel }),
            Err(Fault::Later(error)) => Err(Answer::Later(format!("its bill can't be read: {error}"))),
            Err(Fault::Never(why)) => {
                let Told { account_id, subject, .. } = &parcel.told;
                tracing::warn!("The letter to {account_id} goes without its bill of {subject}: {why}");
                Ok(parcel)
            }
        }
    }

    async fn draw(self: &Arc<Self>, told: &Told) -> Result<Attached, Fault> {
        let month = told.text("month").and_then(|month| month.parse::<Month>().ok());
        let month = month.ok_or_else(|| Fault::Never("its notice names no month".to_owned()))?;
        let mut tx = self.db.read().await?;
        let found = bills::find(&mut tx, &told.account_id, month.number()).await?;
        tx.rollback().await?;
        let bill = found.ok_or_else(|| Fault::Never("it is not in the books".to_owned()))?.bill;
        let name = printing::bill_file_name(&told.account_id, month);
        let (drawer, account_name) = (self.clone(), told.name.clone());
        let language = Language::of(&told.locale);
        // It reads fonts and takes its time: others are sent meanwhile.
        let drawn = tokio::task::spawn_blocking(move || drawer.print(&bill, &account_name, language)).await;
        let pdf = drawn.map_err(|error| Fault::Never(format!("the drawing broke off: {error}")))?;
        Ok(Attached { name, pdf: pdf.map_err(Fault::Never)? })
    }

    fn print(&self, bill: &Bill, name: &str, language: Language) -> Result<Vec<u8>, String> {
        let mut kept = lock(&self.printer);
        let printer = match kept.take() {
            Some(printer) => printer,
            None => printing::printer(&self.config).map_err(|fault| fault.to_string())?,
        };
        let issued = Issued { bill, seller: &self.config.invoices.seller, name };
        let printed = kept.insert(printer).print_bill(issued, language).map_err(|fault| fault.to_string())?;
        let missing = printed.missing.into_iter().map(|c| (c, format!("bill {}", bill.bill_id))).collect();
        printing::unprinted(&missing).iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(printed.pdf)
    }
}
