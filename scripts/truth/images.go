package main

import "context"

func images(ctx context.Context, args []string) error { return nil }
