-- The foundation: accounts, orders and plans, batches and messages, charges, the ledger, runs.
--
-- One text for both databases; `store/migrations.rs` fills in what differs:
--   {int}    a 64-bit integer            {text}   text that compares by bytes
--   {serial} a growing primary key       {strict} refuses values of another type (SQLite)
--   {spans column}  an index of spans where there is one (PostgreSQL)
-- Money is in micro-units (1e-6 of the currency unit), times in microseconds since the epoch, UTC.

create table instance (
    name  {text} primary key,
    value {text} not null
){strict};

create table accounts (
    account_id   {text} primary key,
    name         {text} not null,
    kind         {text} not null check (kind in ('individual', 'enterprise')),
    currency     {text} not null,
    email        {text},
    phone        {text},
    locale       {text} not null,
    status       {text} not null check (status in ('active', 'suspended', 'closed')),
    balance      {int} not null default 0,   -- cash paid in and not spent
    unbilled     {int} not null default 0,   -- pay-as-you-go of months not billed yet
    due          {int} not null default 0,   -- billed or claimed and not paid
    credit_limit {int} not null default 0 check (credit_limit >= 0),
    verified_at  {int},
    created_at   {int} not null,
    orders       {int} not null default 0,   -- last order number
    plans        {int} not null default 0,   -- last plan number
    entries      {int} not null default 0    -- last number in the account's ledger
){strict};

-- A reference is answered once: the same again changes nothing, another amount is refused.
create table top_ups (
    account_id {text} not null references accounts,
    reference  {text} not null,
    amount     {int} not null check (amount > 0),
    at         {int} not null,
    primary key (account_id, reference)
){strict};

create table activations (
    account_id {text} not null references accounts,
    product    {text} not null,
    at         {int} not null,
    primary key (account_id, product)
){strict};

create table orders (
    account_id {text} not null references accounts,
    order_no   {int} not null,
    order_id   {text} not null,
    reference  {text},
    request    {text} not null,              -- the packages asked for, to compare a repeated reference
    placed_at  {int} not null,
    total      {int} not null check (total >= 0),
    paid       {int} not null check (paid >= 0),
    status     {text} not null,
    primary key (account_id, order_no),
    unique (account_id, order_id),
    unique (account_id, reference)
){strict};

create table plans (
    account_id    {text} not null references accounts,
    plan_no       {int} not null,
    plan_id       {text} not null,
    order_no      {int} not null,
    product       {text} not null,
    package       {text} not null,
    size          {int} not null check (size > 0),
    remaining     {int} not null check (remaining between 0 and size),
    forfeited     {int} not null default 0 check (forfeited between 0 and size),
    price         {int} not null check (price >= 0),
    net           {int} not null check (net >= 0),                     -- price without VAT
    released      {int} not null default 0 check (released between 0 and net),
    effective_at  {int} not null,
    expires_at    {int} not null check (expires_at > effective_at),
    last_draw_run {int},                                              -- the run that drew it last (D49)
    primary key (account_id, plan_no),
    unique (account_id, plan_id),
    foreign key (account_id, order_no) references orders
){strict};

-- A batch is one file or stream, taken whole or not at all. `run_no` says which run charged it.
create table batches (
    batch_no     {serial},
    kind         {text} not null,
    source       {text} not null,
    name         {text} not null,            -- file name, `-` for standard input
    format       {text} not null,
    header       {text},                     -- CSV header, to judge its lines again
    content_hash {text} not null,
    lines        {int} not null,
    accepted     {int} not null,
    duplicates   {int} not null,
    conflicts    {int} not null,
    rejected     {int} not null,
    ignored_keys {text} not null default '',
    first_submit {int},
    last_submit  {int},
    ingested_at  {int} not null,
    run_no       {int},
    unique (kind, source, content_hash),
    check (lines = accepted + duplicates + conflicts + rejected)
){strict};

create index batches_uncharged on batches (batch_no) where run_no is null;

-- Lines that are not simply accepted: rejected (raw text kept), conflict, duplicate; and notes on
-- accepted ones (`size_differs`).
create table batch_lines (
    batch_no   {int} not null references batches,
    line       {int} not null,
    verdict    {text} not null check (verdict in ('rejected', 'conflict', 'duplicate', 'note')),
    reason     {text} not null,
    detail     {text} not null,
    raw        {text},
    retried_in {int},                        -- the batch that took the line in the end
    primary key (batch_no, line, verdict)
){strict};

-- Never updated: a message's state follows from its batch, its charge and its receipts.
create table messages (
    account_id     {text} not null,
    id_hi          {int} not null,           -- the id's UUID, else 128 bits of its SHA-256
    id_lo          {int} not null,
    batch_no       {int} not null,
    line           {int} not null,           -- data lines from 1
    product        {text} not null,
    template_type  {text} not null,
    country        {text} not null,
    disposition    {text},                   -- null: to be charged; too_long, rejected, inbound
    reject_code    {text},
    units          {int} not null,
    submit_time    {int} not null,
    raw_id         {text},                   -- where the key does not give the id back
    biz_id         {text},
    out_id         {text},
    recipient_hash {int},
    source_units   {int},                    -- the source's own count where it differs from ours
    -- Ids first: those that grow, as UUIDv7, are then appended to the index instead of being spread
    -- over it by account. The account is in the key all the same, since an id is its own.
    primary key (id_hi, id_lo, account_id),
    check (units >= 0)
){strict};

-- A batch lies together, so that its span of the table is all that an index must know.
create index messages_batch on messages {spans batch_no};

-- Accepted messages that can't be charged (D42), until the run that could.
create table suspense (
    account_id {text} not null,
    id_hi      {int} not null,
    id_lo      {int} not null,
    batch_no   {int} not null,
    line       {int} not null,
    reason     {text} not null,
    since_run  {int} not null,
    run_no     {int},                        -- the run that charged it
    primary key (account_id, id_hi, id_lo)
){strict};

create index suspense_open on suspense (reason, account_id) where run_no is null;

-- Units of one class and 5-minute window with one payer and price, by the run that charged them.
create table charges (
    account_id    {text} not null,
    window_start  {int} not null,
    run_no        {int} not null,
    product       {text} not null,
    template_type {text} not null,
    country       {text} not null,
    first_unit    {int} not null,            -- units of this class, window and run before these
    units         {int} not null check (units > 0),
    messages      {int} not null check (messages >= 0),
    plan_no       {int} not null,            -- 0: pay-as-you-go
    unit_price    {int},                     -- pay-as-you-go price at that moment, for plans too
    amount        {int} not null,
    primary key (account_id, window_start, run_no, product, template_type, country, first_unit)
){strict};

-- The ledger: append only.
create table entries (
    account_id {text} not null,
    entry_no   {int} not null,
    cause      {text} not null,
    at         {int} not null,
    primary key (account_id, entry_no),
    unique (account_id, cause)
){strict};

create table postings (
    account_id {text} not null,
    entry_no   {int} not null,
    ledger     {text} not null,              -- name in the chart of accounts
    plan_no    {int} not null,               -- 0: none
    commodity  {text} not null,
    amount     {int} not null,               -- debit positive
    primary key (account_id, entry_no, ledger, plan_no, commodity)
){strict};

-- Pay-as-you-go units of a month: where the next unit stands in the price tiers (D3).
create table tier_counters (
    account_id {text} not null,
    month      {int} not null,               -- 202603, in the billing zone
    product    {text} not null,
    class      {text} not null,              -- template type or country
    units      {int} not null,
    primary key (account_id, month, product, class)
){strict};

-- Running totals of a month from which VAT is split off.
create table accruals (
    account_id {text} not null,
    month      {int} not null,
    product    {text} not null,
    vat_ppm    {int} not null,
    gross      {int} not null,
    net        {int} not null,
    primary key (account_id, month, product, vat_ppm)
){strict};

-- One row a job: the lock that makes its runs take turns.
create table jobs (
    job  {text} primary key,
    runs {int} not null
){strict};

create table job_runs (
    run_no      {serial},
    job         {text} not null,
    as_of       {int} not null,
    started_at  {int} not null,
    duration_ms {int},
    outcome     {text} not null,
    counts      {text} not null,
    error       {text}
){strict};
