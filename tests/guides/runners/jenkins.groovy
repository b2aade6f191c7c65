// Runs a declarative Jenkinsfile as an agent of Jenkins would: groovy jenkins.groovy FILE. A word that is not here is an error.
// CREDENTIALS is a JSON file of credentials by their IDs. BRANCH_NAME, TAG_NAME and GIT_COMMIT are in the environment.
import groovy.json.JsonSlurper

class Words {
    def read(Closure body) {
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
        this
    }
}

class Agent extends Words {
    String label
    void label(String name) { label = name }
}

class Options extends Words {
    void timeout(Map given) { assert given.keySet() == ['time', 'unit'] as Set }
}

class Variables extends Words {
    Map values = [:]
    void setProperty(String name, Object value) { values[name] = value as String }
}

class When extends Words {
    boolean holds = true
    void branch(String name) { holds &= System.getenv('BRANCH_NAME') == name && !System.getenv('TAG_NAME') }
    void buildingTag() { holds &= System.getenv('TAG_NAME') as boolean }
    void beforeAgent(boolean first) { assert first }
}

class Steps extends Words {
    Map variables
    Map credentials

    Map string(Map given) { [name: given.variable, value: known(given) as String] }

    Map file(Map given) {
        def file = File.createTempFile('credential', '')
        java.nio.file.Files.setPosixFilePermissions(
            file.toPath(), java.nio.file.attribute.PosixFilePermissions.fromString('rw-------'))
        file.text = known(given)
        file.deleteOnExit()
        [name: given.variable, value: file.path]
    }

    def known(Map given) {
        assert given.keySet() == ['credentialsId', 'variable'] as Set
        assert credentials.containsKey(given.credentialsId): "there is no credential ${given.credentialsId}"
        credentials[given.credentialsId]
    }

    void withCredentials(List<Map> bound, Closure body) {
        def more = bound.collectEntries { [(it.name): it.value] }
        new Steps(variables: variables + more, credentials: credentials).read(body)
    }

    void sh(String script) {
        // With a trace, as Jenkins does it.
        def builder = new ProcessBuilder('sh', '-xe', '-c', script).inheritIO()
        builder.environment().putAll(variables)
        def status = builder.start().waitFor()
        if (status) {
            println "ERROR: script returned exit code ${status}"
            System.exit(1)
        }
    }
}

class Stage extends Words {
    String name
    Agent agent
    Map variables = [:]
    boolean runs = true
    Closure body

    void agent(Closure body) { agent = new Agent().read(body) }
    void environment(Closure body) { variables = new Variables().read(body).values }
    void when(Closure body) { runs = new When().read(body).holds }
    void steps(Closure body) { this.body = body }
}

class Stages extends Words {
    List<Stage> all = []
    void stage(String name, Closure body) { all << new Stage(name: name).read(body) }
}

class Pipeline extends Words {
    final String none = 'none'
    Agent agent
    Stages stages

    void agent(String none) { assert none == 'none' }
    void agent(Closure body) { agent = new Agent().read(body) }
    void options(Closure body) { new Options().read(body) }
    void stages(Closure body) { stages = new Stages().read(body) }
}

def credentials = new JsonSlurper().parse(new File(System.getenv('CREDENTIALS')))
def run = { Closure body ->
    def pipeline = new Pipeline().read(body)
    pipeline.stages.all.each { stage ->
        def agent = stage.agent ?: pipeline.agent
        assert agent?.label: "the stage ${stage.name} has no agent"
        assert stage.body: "the stage ${stage.name} has no steps"
        if (!stage.runs) {
            println "Stage \"${stage.name}\" skipped due to when conditional"
            return
        }
        println "[Pipeline] { (${stage.name}) on ${agent.label}"
        new Steps(variables: stage.variables, credentials: credentials).read(stage.body)
    }
}
new GroovyShell(new Binding([pipeline: run])).evaluate(new File(args[0]))
