package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheLateBookingIsRefused(t *testing.T) {
	var out strings.Builder
	require.NoError(t, show(t.Context(), &out))
	require.Contains(t, out.String(), "refused: lock \"ledger\"")
	require.Contains(t, out.String(), "her handle is valid: false")
	_, ledger, _ := strings.Cut(out.String(), "the ledger:\n")
	require.Equal(t, "  anna   rent       700\n  bert   wages     2100\n", ledger)
}

func TestTheFenceLetsOnlyTheLatestHolderWrite(t *testing.T) {
	db, remove, err := openLedger(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, remove()) }()

	for _, try := range []struct {
		token   int64
		refused bool
	}{
		{token: 10}, {token: 10}, {token: 9, refused: true}, {token: 12}, {token: 10, refused: true}, {token: 12}, {token: 13},
	} {
		err := book(t.Context(), db, "anna", try.token, "rent", 700)
		require.Equal(t, try.refused, errors.Is(err, errOvertaken), "%v: %v", try, err)
		if !try.refused {
			require.NoError(t, err)
		}
	}
	require.Equal(t, 5, entries(t, db), "a refused booking was made")

	// A holder that has passed the fence and then fails has not written, and others can.
	failure := errors.New("no")
	require.ErrorIs(t, write(t.Context(), db, lockName, 14, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(context.Background(), `DELETE FROM ledger`)
		require.NoError(t, err)
		return failure
	}), failure)
	require.Equal(t, 5, entries(t, db))
	require.NoError(t, book(t.Context(), db, "anna", 13, "rent", 700))
	require.NoError(t, write(t.Context(), db, "another lock", 1, func(*sql.Tx) error { return nil }))
}

func entries(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM ledger`).Scan(&n))
	return n
}
