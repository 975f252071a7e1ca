package models

// Undelivered is the row of a wake-up that the webhook's receiver has not taken.
type Undelivered struct {
	Space     string `gorm:"primaryKey"`
	Version   int64  // the newest that the receiver was to be told of
	Attempts  int64
	LastError string
	Since     int64 // when it began to wait, in milliseconds of Unix time
	// DueAt is when a node takes it up unless the one that has it does so again and
	// again; nil: given up, a dead letter.
	DueAt *int64
}

// TableName says whose they are.
func (Undelivered) TableName() string { return "webhook_undelivered" }
