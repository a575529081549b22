package orgnvmexpressdiscoverd

//go:generate go run github.com/varlink/go/cmd/varlink-go-interface-generator org.nvmexpress.discoverd.varlink
