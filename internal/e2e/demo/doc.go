// Command demo shows, inside the end-to-end machine, what the service does: `make demo`.
package main
