import json
from click.testing import CliRunner
from zun_coe.cli import main
def test_play(service, project, outside):
    def run(*args, input=None):
        r = CliRunner().invoke(main, ["--endpoint", service.server.url, "--project", project, *args], input=input)
        print("$", " ".join(args)); print(r.stdout); print("E>", r.stderr, "=>", r.exit_code, r.exception if r.exit_code==1 and not isinstance(r.exception, SystemExit) else "")
        if r.exception and not isinstance(r.exception, SystemExit): raise r.exception
        return r
    run("cluster","list"); run("cluster","show","here"); run("cluster","capabilities","here")
    run("app","create","hello","--image","web:1","--replicas","2","--port","80:auto","--env","A=1","--wait=20")
    run("app","list"); run("app","list","-o","wide"); run("app","list","-o","name"); run("app","show","hello"); run("app","show","hello","-o","yaml")
    run("app","containers","hello"); run("app","revisions","hello")
    run("app","update","hello","--env","B=2","--env","A-","--wait"); run("app","rollback","hello","--wait"); run("app","revisions","hello")
    run("app","scale","hello","3","--wait"); run("app","stop","hello","--wait"); run("app","start","hello","--wait"); run("app","restart","hello","--wait")
    run("app","diagnose","hello"); run("app","logs","hello","--tail","2"); run("app","logs","hello","-o","json", "-n","1"); run("events"); run("events","-o","json","--limit","1")
    run("app","update","hello","--if-match","1","--replicas","4"); run("app","update","hello","--if-match","1","--replicas","4","-o","json")
    run("app","create","hello","--image","web:1"); run("app","create","Bad_","--image","web:1","--port","70000")
    run("app","show","nope"); run("app","delete","nope","hello","--wait"); run("app","list")
    run("container","create","job","--image","web:1","--restart","never","--wait","--","sleep","5"); run("container","list"); run("container","restart","job","--wait"); run("container","kill","job"); run("container","show","job")
    run("secret","create","db","--from-file","password=-",input="geheim\n"); run("secret","list"); run("secret","show","db"); run("secret","delete","db"); run("volume","list"); run("service","list")
    run("app","create","bad","--image","missing:1","--deadline","1","--wait=10")
    run("container","delete","job"); run("events")
