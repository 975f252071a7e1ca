DROP TABLE inbox_rejected;
DROP TABLE inbox;
