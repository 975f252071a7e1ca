-- What the receiver has not taken is forgotten.
DROP TABLE webhook_undelivered;
