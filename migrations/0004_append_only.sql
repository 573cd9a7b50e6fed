-- The ledger is append only: a mistake is mended by another entry, never by changing one. The
-- database refuses it to everybody, whatever rights they have.

{append_only entries}
{append_only postings}
