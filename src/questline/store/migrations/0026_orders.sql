-- A refund finds whose commission of an order is to be taken back, whoever the refund names.

CREATE INDEX commissions_by_order ON commissions (project_id, commission) WHERE NOT reversed;
