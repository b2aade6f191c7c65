// Resolves and reads an image by BuildKit's own reader of buildkitd.toml and its own resolver of registries.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/containerd/containerd/remotes/docker"
	"github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/util/resolver"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// probe FILE REFERENCE [USER]: the password is read from standard input. Prints what was resolved.
func main() {
	settings, err := config.LoadFile(os.Args[1])
	fail(err)
	if len(os.Args) == 2 {
		fail(json.NewEncoder(os.Stdout).Encode(settings.Registries))
		return
	}
	authorizer := docker.NewDockerAuthorizer(docker.WithAuthCreds(func(string) (string, string, error) {
		if len(os.Args) < 4 {
			return "", "", nil
		}
		password, err := io.ReadAll(os.Stdin)
		return os.Args[3], string(password), err
	}))
	registries := resolver.NewRegistryConfig(settings.Registries)
	hosts := func(name string) ([]docker.RegistryHost, error) {
		found, err := registries(name)
		for number := range found {
			found[number].Authorizer = authorizer
			if found[number].Client == nil {
				found[number].Client = http.DefaultClient
			}
		}
		return found, err
	}
	images := docker.NewResolver(docker.ResolverOptions{Hosts: hosts})
	name, descriptor, err := images.Resolve(context.Background(), os.Args[2])
	fail(err)
	fetcher, err := images.Fetcher(context.Background(), name)
	fail(err)
	body, err := fetcher.Fetch(context.Background(), descriptor)
	fail(err)
	manifest, err := io.ReadAll(body)
	fail(err)
	fmt.Println(name, descriptor.Digest, len(manifest))
}
