package image

import (
	"context"
	"fmt"
)

// Copy copies a directory with owners, modes, links and extended attributes to a new
// one. After an error nothing is left.
func Copy(from, to string) error {
	m := &Image{Ref: from}
	if err := m.fromDir(from); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	if err := Unpack(context.Background(), m, to, Limits{}); err != nil {
		return fmt.Errorf("copy to %s: %w", to, err)
	}
	return nil
}
