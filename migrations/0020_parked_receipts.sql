-- Receipts beside the one that holds the place of a message that has not come: slot 'parked BATCH LINE'. They are
-- judged when it comes.
create index receipts_parked on receipts (batch_no) where slot like 'parked %';
