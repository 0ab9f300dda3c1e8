// Fencing shows how a lock in etcd protects a database that knows nothing of etcd. Two clerks book into a ledger, one at
// a time. One of them is cut off from etcd, does not notice, and books late. The database refuses it, because the
// other one has a larger token.
//
//	go run ./examples/fencing
//
// What to read first: fence.go is the pattern, a table and a statement. The rest makes a show of it; it takes a few
// seconds and ends by itself.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/gotenure/tenure/embedded"
	"github.com/gotenure/tenure/lock"
)

const lockName = "ledger"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := show(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fencing:", err)
		os.Exit(1)
	}
}

func show(ctx context.Context, out io.Writer) (err error) {
	cluster, err := embedded.Start(ctx, embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond, ElectionTimeout: 100 * time.Millisecond})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	db, remove, err := openLedger(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()

	anna, err := newClerk(ctx, cluster, "anna")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, anna.close()) }()
	bert, err := newClerk(ctx, cluster, "bert")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bert.close()) }()

	first, err := lock.NewMutex(anna.session, lockName).Lock(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "anna has the lock, with token %d\n", first.Token())
	if err := book(ctx, db, "anna", first.Token(), "rent", 700); err != nil {
		return err
	}
	fmt.Fprintln(out, "anna books the rent")

	anna.cut()
	fmt.Fprintln(out, "anna's machine is cut off from etcd, but not from the database; bert waits for the lock")
	second, err := lock.NewMutex(bert.session, lockName).Lock(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "bert has the lock, with token %d: anna's lease has run out\n", second.Token())
	if err := book(ctx, db, "bert", second.Token(), "wages", 2100); err != nil {
		return err
	}
	fmt.Fprintln(out, "bert books the wages")

	// A program should look at first.Valid() before, and would stop here. But it can be paused between that and the
	// next line, for any time. So the database looks, too.
	fmt.Fprintf(out, "anna could know (her handle is valid: %t), but books without looking\n", first.Valid())
	err = book(ctx, db, "anna", first.Token(), "wages", 2100)
	if !errors.Is(err, errOvertaken) {
		return fmt.Errorf("the late booking was not refused: %v", err)
	}
	fmt.Fprintf(out, "refused: %v\n", err)

	if err := second.Unlock(ctx); err != nil {
		return err
	}
	return printLedger(ctx, db, out)
}

// book adds an entry, as the holder with that token.
func book(ctx context.Context, db *sql.DB, clerk string, token int64, what string, amount int) error {
	return write(ctx, db, lockName, token, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO ledger (clerk, what, amount) VALUES (?, ?, ?)`, clerk, what, amount)
		return err
	})
}

// openLedger makes a database in a folder of its own.
func openLedger(ctx context.Context) (db *sql.DB, remove func() error, err error) {
	folder, err := os.MkdirTemp("", "fencing-")
	if err != nil {
		return nil, nil, err
	}
	db, err = sql.Open("sqlite", filepath.Join(folder, "ledger.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(folder))
	}
	remove = func() error { return errors.Join(db.Close(), os.RemoveAll(folder)) }
	for _, table := range []string{schema, `CREATE TABLE ledger (clerk TEXT, what TEXT, amount INTEGER)`} {
		if _, err := db.ExecContext(ctx, table); err != nil {
			return nil, nil, errors.Join(err, remove())
		}
	}
	return db, remove, nil
}

func printLedger(ctx context.Context, db *sql.DB, out io.Writer) error {
	rows, err := db.QueryContext(ctx, `SELECT clerk, what, amount FROM ledger ORDER BY rowid`)
	if err != nil {
		return err
	}
	defer rows.Close()
	fmt.Fprintln(out, "\nthe ledger:")
	for rows.Next() {
		var clerk, what string
		var amount int
		if err := rows.Scan(&clerk, &what, &amount); err != nil {
			return err
		}
		fmt.Fprintf(out, "  %-6s %-8s %5d\n", clerk, what, amount)
	}
	return rows.Err()
}
