// Package embedded
package embedded
