package main

import "context"

func oracle(ctx context.Context, args []string) error { return nil }
