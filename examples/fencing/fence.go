package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// This file is the pattern: a table, and one statement in front of what is written.

// schema has one row for each lock that protects something in this database. PostgreSQL takes it as it is.
const schema = `CREATE TABLE IF NOT EXISTS fences (lock TEXT PRIMARY KEY, token BIGINT NOT NULL)`

// pass raises the fence to the writer's token. It changes nothing if the fence is higher: then a later holder has been
// here. Equal is good, because one holder writes many times. PostgreSQL takes it too, with $1 and $2.
const pass = `
	INSERT INTO fences (lock, token) VALUES (?, ?)
	ON CONFLICT (lock) DO UPDATE SET token = excluded.token WHERE excluded.token >= fences.token`

// errOvertaken is returned by write when a later holder has written before. Nothing was written.
var errOvertaken = errors.New("a later holder of the lock has been here")

// write does f in a transaction that commits only if no later holder of the lock has written to this database. Passing
// the fence comes first: the row is locked from then on, so no later holder gets in between, and what f reads is
// what the holders before have left.
func write(ctx context.Context, db *sql.DB, lock string, token int64, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after the commit
	raised, err := tx.ExecContext(ctx, pass, lock, token)
	if err != nil {
		return fmt.Errorf("pass the fence of %q: %w", lock, err)
	}
	switch n, err := raised.RowsAffected(); {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("lock %q, token %d: %w", lock, token, errOvertaken)
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
