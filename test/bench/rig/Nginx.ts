/** nginx as a plain reverse proxy: one worker, kept-alive connections to the upstream, nothing buffered. */

export const nginxConfig = (port: number, upstream: number, folder: string): string => {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `  ${kind}_temp_path ${folder}/nginx-${kind};`
  )
  return `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/nginx.log crit;
events { worker_connections 30000; }
http {
${temporary.join("\n")}
  access_log off;
  client_max_body_size 16m;
  client_body_buffer_size 512k;
  keepalive_requests 1000000000;
  upstream engine {
    server 127.0.0.1:${upstream};
    keepalive 512;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 300s;
    }
  }
}
`
}
