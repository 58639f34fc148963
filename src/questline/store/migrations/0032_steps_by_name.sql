-- Steps of tiers and tiers of achievements are found again where a program puts others between them.
ALTER TABLE tiers ADD COLUMN marks json;
ALTER TABLE achievements ADD COLUMN mark json;
