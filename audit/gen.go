package audit

//go:generate go run ../scripts/rules ../docs/rules.md
