//! What is printed around the facts, in the language of the account.

use crate::domain::bill::LineKind;

/// The languages that documents are printed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    /// The language of an account's locale: Chinese for `zh` and its regions.
    pub fn of(locale: &str) -> Language {
        if locale == "zh" || locale.starts_with("zh-") { Language::Chinese } else { Language::English }
    }

    pub(super) fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh-CN",
        }
    }

    pub(super) fn words(self) -> &'static Words {
        match self {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }

    pub(super) fn bill_words(self) -> &'static BillWords {
        match self {
            Language::English => &ENGLISH_BILL,
            Language::Chinese => &CHINESE_BILL,
        }
    }
}

/// The labels of invoices and credit notes.
pub struct Words {
    pub invoice: &'static str,
    pub credit_note: &'static str,
    pub number: &'static str,
    pub seller: &'static str,
    pub buyer: &'static str,
    pub tax_id: &'static str,
    pub address: &'static str,
    pub bank: &'static str,
    pub issued: &'static str,
    pub invoice_type: &'static str,
    pub general: &'static str,
    pub special: &'static str,
    pub period: &'static str,
    pub order: &'static str,
    pub account: &'static str,
    pub currency: &'static str,
    pub takes_back: &'static str,
    pub replaces: &'static str,
    pub returned_by: &'static str,
    pub item: &'static str,
    pub quantity: &'static str,
    pub unit_price: &'static str,
    pub net: &'static str,
    pub vat_rate: &'static str,
    pub vat: &'static str,
    pub gross: &'static str,
    pub allowance: &'static str,
    pub vat_summary: &'static str,
    pub total_net: &'static str,
    pub total_vat: &'static str,
    pub total: &'static str,
    pub paid: &'static str,
    pub payable: &'static str,
    pub credited: &'static str,
    pub note_invoice: &'static str,
    pub note_credit: &'static str,
    pub note_fapiao: &'static str,
    pub to: &'static str,
    pub page: fn(usize, usize) -> String,
}

/// The labels of bills.
pub struct BillWords {
    pub bill: &'static str,
    pub number: &'static str,
    pub account: &'static str,
    pub name: &'static str,
    pub month: &'static str,
    pub currency: &'static str,
    pub issued: &'static str,
    pub kind: &'static str,
    pub product: &'static str,
    pub template_type: &'static str,
    pub country: &'static str,
    pub units: &'static str,
    pub unit_price: &'static str,
    pub vat_rate: &'static str,
    pub amount: &'static str,
    pub settled: &'static str,
    pub of: &'static str,
    pub total: &'static str,
    pub paid: &'static str,
    pub due: &'static str,
    pub yes: &'static str,
    pub nothing: &'static str,
    pub note_settled: &'static str,
    pub note_paid: &'static str,
    /// What follows the number of messages that wait in suspense; None: as the bill says it.
    pub note_suspended: Option<&'static str>,
    /// What a line is.
    pub line: fn(LineKind) -> &'static str,
    pub page: fn(usize, usize) -> String,
}

static ENGLISH: Words = Words {
    invoice: "Invoice",
    credit_note: "Credit note",
    number: "No.",
    seller: "Seller",
    buyer: "Buyer",
    tax_id: "Tax ID",
    address: "Address",
    bank: "Bank",
    issued: "Date of issue",
    invoice_type: "Type",
    general: "General VAT invoice",
    special: "Special VAT invoice",
    period: "Period",
    order: "Order",
    account: "Account",
    currency: "Currency",
    takes_back: "Takes back",
    replaces: "Replaces",
    returned_by: "Taken back by",
    item: "Item",
    quantity: "Quantity",
    unit_price: "Unit price",
    net: "Net",
    vat_rate: "VAT",
    vat: "VAT amount",
    gross: "Gross",
    allowance: "Refunds",
    vat_summary: "VAT by rate",
    total_net: "Net total",
    total_vat: "VAT",
    total: "Total",
    paid: "Paid from the balance",
    payable: "Payable",
    credited: "Total taken back",
    note_invoice: "It was paid from the account's balance: nothing is payable.",
    note_credit: "It takes the invoice back whole; money is refunded, where it is, on its own.",
    note_fapiao: "The digital fapiao is issued by the tax authority's platform under a number of its own.",
    to: "to",
    page: numbered,
};

// 发票 is what the tax platform alone issues, so that this is none by its name.
static CHINESE: Words = Words {
    invoice: "结算单",
    credit_note: "红字冲销单",
    number: "编号",
    seller: "销售方",
    buyer: "购买方",
    tax_id: "统一社会信用代码/纳税人识别号",
    address: "地址",
    bank: "开户行及账号",
    issued: "开具日期",
    invoice_type: "开票类型",
    general: "增值税普通发票",
    special: "增值税专用发票",
    period: "账期",
    order: "订单",
    account: "账户",
    currency: "币种",
    takes_back: "冲销单据",
    replaces: "替换单据",
    returned_by: "已被冲销",
    item: "项目名称",
    quantity: "数量",
    unit_price: "单价",
    net: "金额",
    vat_rate: "税率",
    vat: "税额",
    gross: "价税合计",
    allowance: "退款折让",
    vat_summary: "税额明细",
    total_net: "合计金额",
    total_vat: "合计税额",
    total: "价税合计",
    paid: "已从余额支付",
    payable: "应付",
    credited: "冲销合计",
    note_invoice: "款项已从账户余额支付，无需另行付款。",
    note_credit: "本单整张冲销所列单据；如需退款，另行办理。",
    note_fapiao: "数电发票由税务机关电子发票服务平台开具并编号。",
    to: "至",
    page: numbered_in_chinese,
};

static ENGLISH_BILL: BillWords = BillWords {
    bill: "Bill",
    number: "No.",
    account: "Account",
    name: "Name",
    month: "Month",
    currency: "Currency",
    issued: "Issued",
    kind: "Kind",
    product: "Product",
    template_type: "Type",
    country: "Country",
    units: "Units",
    unit_price: "Unit price",
    vat_rate: "VAT",
    amount: "Amount",
    settled: "Settled",
    of: "Of",
    total: "Total",
    paid: "Paid",
    due: "Due",
    yes: "yes",
    nothing: "Nothing was used or bought in this month.",
    note_settled: "What is settled was paid, or paid back, when it was made: it is not in the total.",
    note_paid: "Paid and due are as they were when the bill was issued. Amounts include VAT.",
    note_suspended: None,
    // As `bill show` and the views have them, so that both sides speak of the same.
    line: |kind| match kind {
        LineKind::RoundDown => "round-down",
        kind => kind.as_str(),
    },
    page: numbered,
};

static CHINESE_BILL: BillWords = BillWords {
    bill: "账单",
    number: "编号",
    account: "账户",
    name: "名称",
    month: "账期",
    currency: "币种",
    issued: "出账时间",
    kind: "类型",
    product: "产品",
    template_type: "模板类型",
    country: "国家/地区",
    units: "数量",
    unit_price: "单价",
    vat_rate: "税率",
    amount: "金额",
    settled: "已结清",
    of: "所属",
    total: "合计",
    paid: "已付",
    due: "尚欠",
    yes: "是",
    nothing: "本月没有用量或订购。",
    note_settled: "标为“已结清”的项目在发生时已付款或退款，不计入合计。",
    note_paid: "已付与尚欠为出账时的金额。金额均含税。",
    note_suspended: Some("条本期消息待处理，未计入本账单。"),
    line: |kind| match kind {
        LineKind::Payg => "按量计费",
        LineKind::Plan => "套餐用量",
        LineKind::Return => "失败返还",
        LineKind::Adjustment => "阶梯价调整",
        LineKind::Order => "订单",
        LineKind::Refund => "退款",
        LineKind::Penalty => "违约金",
        LineKind::RoundDown => "抹零",
    },
    page: numbered_in_chinese,
};

fn numbered(page: usize, of: usize) -> String {
    format!("Page {page} of {of}")
}

fn numbered_in_chinese(page: usize, of: usize) -> String {
    format!("第 {page} 页，共 {of} 页")
}
