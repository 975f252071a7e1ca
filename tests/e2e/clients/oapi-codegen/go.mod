// Keeps what make clients writes here out of the module of the server.
module github.com/tidemark/tidemark/tests/e2e/clients/oapi-codegen

go 1.26
