// Package limits holds what Tidemark is measured against: the least work with
// which the same could be done by the same parts. Each limit runs on the same
// machine in the same minutes as what it limits.
package limits
