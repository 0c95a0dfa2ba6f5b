// Verifies a checkpoint, an inclusion proof and a consistency proof with golang.org/x/mod/sumdb, which shares no code
// with Interlock: what the log says must be verifiable by tools that are not ours.
//
//	verify_log < CASES      one JSON object a line; exit 1 at the first that does not verify
//
// Debian's golang-golang-x-mod-dev, offline: GO111MODULE=off GOPATH=/usr/share/gocode go build verify_log.go
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type testCase struct {
	Key         string   `json:"key"`  // as note.NewVerifier reads it
	Note        string   `json:"note"` // the checkpoint
	Leaf        []byte   `json:"leaf"`
	Index       int64    `json:"index"`
	Inclusion   [][]byte `json:"inclusion"`
	OldSize     int64    `json:"old_size"` // 0: no consistency proof
	OldRoot     []byte   `json:"old_root"`
	Consistency [][]byte `json:"consistency"`
}

func hashOf(raw []byte) (tlog.Hash, error) {
	var hash tlog.Hash
	if len(raw) != len(hash) {
		return hash, fmt.Errorf("a hash of %d bytes", len(raw))
	}
	copy(hash[:], raw)
	return hash, nil
}

func hashesOf(raw [][]byte) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, one := range raw {
		hash, err := hashOf(one)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

// The signed size and root.
func openCheckpoint(text, key string) (int64, tlog.Hash, error) {
	var none tlog.Hash
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return 0, none, err
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return 0, none, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return 0, none, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return 0, none, err
	}
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return 0, none, err
	}
	root, err := hashOf(raw)
	return size, root, err
}

func verify(c testCase) error {
	size, root, err := openCheckpoint(c.Note, c.Key)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	inclusion, err := hashesOf(c.Inclusion)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(inclusion, size, root, c.Index, tlog.RecordHash(c.Leaf)); err != nil {
		return fmt.Errorf("inclusion: %w", err)
	}
	if c.OldSize == 0 {
		return nil
	}
	consistency, err := hashesOf(c.Consistency)
	if err != nil {
		return err
	}
	oldRoot, err := hashOf(c.OldRoot)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(consistency, size, root, c.OldSize, oldRoot); err != nil {
		return fmt.Errorf("consistency: %w", err)
	}
	return nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	count := 0
	for lines.Scan() {
		var c testCase
		err := json.Unmarshal(lines.Bytes(), &c)
		if err == nil {
			err = verify(c)
		}
		if err != nil {
			fmt.Printf("case %d: %v\n", count, err)
			os.Exit(1)
		}
		count++
	}
	fmt.Printf("verified %d\n", count)
}
