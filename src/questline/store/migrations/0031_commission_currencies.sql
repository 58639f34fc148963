-- A refund takes back the currency that was paid, also where the program pays another one by now.

ALTER TABLE commissions ADD COLUMN currency text COLLATE "C" NOT NULL DEFAULT '';  -- '': before this was kept
