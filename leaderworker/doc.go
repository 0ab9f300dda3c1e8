// Package leaderworker shares shards out among the workers of a pool, so that
// each shard has one owner at a time.
package leaderworker
