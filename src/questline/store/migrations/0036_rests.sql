-- What the score of a period leaves out of a sum of fractions: it is carried on, and a whole point of it joins the score.

-- In billionths of a point, 1 to 999,999,999; NULL: nothing, which takes no room in a row.
ALTER TABLE board_entries ADD COLUMN rest integer;
ALTER TABLE board_hidden ADD COLUMN rest integer;
ALTER TABLE league_members ADD COLUMN rest integer;
